// applets/exec.cpp — `mirrord exec`: starts a session on a target and becomes the user's program.
#include "applets/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>

#include "applets/applet.h"
#include "applets/child_environment.h"
#include "applets/cluster_request.h"
#include "applets/config/path_mapping.h"
#include "applets/config/settings_file.h"
#include "applets/config/target.h"
#include "applets/exec_flags.h"
#include "applets/hook_file.h"
#include "applets/incoming_summary.h"
#include "applets/intproxy/start.h"
#include "applets/intproxy/user_notice.h"
#include "applets/json_text.h"
#include "applets/load_check.h"
#include "applets/private_directory.h"
#include "applets/program.h"
#include "applets/target_source.h"

namespace mirrord {
namespace {

constexpr char kNestedVariable[] = "MIRRORD_RESOLVED_CONFIG";

// How long each phase took, for --timings.
class Timings {
 public:
  explicit Timings(bool is_on) : is_on_(is_on) {}
  void mark(const char* phase) {
    const auto now = Clock::now();
    if (is_on_)
      text_ += phase + (": " + microseconds(now - last_)) + "\n";
    last_ = now;
  }
  // A part of the present phase that was measured elsewhere.
  void part(const std::string& name, std::chrono::microseconds time) {
    if (is_on_)
      text_ += "  " + name + ": " + microseconds(time) + "\n";
  }
  void print() {
    if (is_on_)
      std::fputs((text_ + "in all: " + microseconds(last_ - begin_) + "\n").c_str(), stderr);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static std::string microseconds(Clock::duration time) {
    return std::to_string(time / std::chrono::microseconds(1)) + " µs";
  }
  bool is_on_;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point last_ = begin_;
  std::string text_;
};

// The session's directory until the intproxy owns it. A signal during the start removes it too.
class SessionDirectory {
 public:
  explicit SessionDirectory(const std::string& path) {
    std::snprintf(directory_, sizeof directory_, "%s", path.c_str());
    std::snprintf(settings_, sizeof settings_, "%s/%s", path.c_str(), local::kSettingsFile);
    for (std::size_t i = 0; i < kSignals.size(); ++i) {
      struct sigaction action {};
      action.sa_handler = on_signal;
      action.sa_flags = static_cast<int>(SA_RESETHAND);
      sigaction(kSignals[i], nullptr, &before_[i]);
      if (before_[i].sa_handler != SIG_IGN)
        sigaction(kSignals[i], &action, nullptr);
    }
  }
  SessionDirectory(const SessionDirectory&) = delete;
  SessionDirectory& operator=(const SessionDirectory&) = delete;
  ~SessionDirectory() {
    restore_signals();
    remove();
  }
  // Hands the directory over: the program runs now.
  void release() {
    restore_signals();
    directory_[0] = '\0';
  }

 private:
  static constexpr std::array<int, 3> kSignals = {SIGINT, SIGTERM, SIGHUP};

  // Only what a signal handler may call.
  static void remove() {
    if (directory_[0] == '\0')
      return;
    unlink(settings_);
    rmdir(directory_);
  }
  static void on_signal(int number) {
    remove();
    raise(number);  // the action is the default one again
  }
  void restore_signals() {
    for (std::size_t i = 0; i < kSignals.size(); ++i)
      sigaction(kSignals[i], &before_[i], nullptr);
  }

  static inline char directory_[PATH_MAX];
  static inline char settings_[PATH_MAX];
  std::array<struct sigaction, kSignals.size()> before_{};
};

// Settings that an agent which the session starts reads from its environment; taken back at the end.
class AgentVariables {
 public:
  AgentVariables(const config::AgentOptions& agent, const k8s::AgentSettings& pod) {
    set("MIRRORD_AGENT_STEALER_FLUSH_CONNECTIONS", pod.flush_connections ? 1U : 0U);
    set("MIRRORD_AGENT_DNS_TIMEOUT", agent.dns_timeout_seconds);
    set("MIRRORD_AGENT_DNS_ATTEMPTS", agent.dns_attempts);
  }
  AgentVariables(const AgentVariables&) = delete;
  AgentVariables& operator=(const AgentVariables&) = delete;
  ~AgentVariables() {
    for (const char* name : names_)
      unsetenv(name);  // NOLINT(concurrency-mt-unsafe): one thread
  }

 private:
  void set(const char* name, std::optional<uint32_t> value) {
    if (!value || config::process_environment(name))
      return;
    setenv(name, std::to_string(*value).c_str(), 1);  // NOLINT(concurrency-mt-unsafe): one thread
    names_.push_back(name);
  }
  std::vector<const char*> names_;
};

// The whole path, as the hook's rules and the program's children see it.
std::string absolute_path(const std::string& path) {
  std::array<char, PATH_MAX> resolved{};
  return realpath(path.c_str(), resolved.data()) != nullptr ? resolved.data() : path;
}

// Answers the hook's questions about paths that a mapping pattern matches.
std::function<intproxy::MappedPath(std::string_view)> path_mapper(
    const config::ResolvedConfig& config, std::span<const std::byte> settings) {
  auto mapping = config::PathMapping::create(config.files.mapping);
  if (!mapping || mapping->is_empty())
    return {};
  local::Settings header;
  std::memcpy(&header, settings.data(), sizeof header);
  const auto table = settings.subspan(header.path_automaton.offset, header.path_automaton.size);
  struct State {
    config::PathMapping mapping;
    std::vector<std::byte> table;
  };
  auto state =
      std::make_shared<State>(std::move(*mapping), std::vector(table.begin(), table.end()));
  return [state](std::string_view path) {
    intproxy::MappedPath mapped;
    mapped.path = state->mapping.map(path).value_or(std::string(path));
    const uint8_t outcome = config::evaluate_path(state->table, mapped.path);
    mapped.read = local::read_decision(outcome);
    mapped.write = local::write_decision(outcome);
    return mapped;
  };
}

intproxy::SessionOptions session_options(const config::ResolvedConfig& config,
                                         const std::string& directory,
                                         std::span<const std::byte> settings) {
  using std::chrono::seconds;
  // A number that does not fit the clock means "for ever".
  const auto bounded = [](uint64_t value) {
    return seconds(static_cast<int64_t>(std::min<uint64_t>(value, 1'000'000'000)));
  };
  intproxy::SessionOptions options;
  options.directory = directory;
  options.agent = local_source(config.target);
  options.log_file = config.proxy.log_destination;
  options.connect_timeout = bounded(config.agent.startup_timeout_seconds);
  options.start_idle_timeout = bounded(config.proxy.start_idle_timeout_seconds);
  options.idle_timeout = bounded(config.proxy.idle_timeout_seconds);
  options.ping_interval = bounded(config.proxy.ping_interval_seconds);
  options.reconnect_timeout = bounded(config.proxy.reconnect_timeout_seconds);
  options.readonly_file_buffer = config.files.readonly_buffer;
  options.environment_include = config.environment.include;
  options.environment_exclude = config.environment.exclude;
  options.incoming = config.network.incoming;
  options.map_path = path_mapper(config, settings);
  options.notices = intproxy::keep_if_regular(STDERR_FILENO);
  return options;
}

// A short description of the run. Its presence marks a nested `exec`; secrets stay out of it.
std::string resolved_config_text(const config::ResolvedConfig& config) {
  const std::string key = json_quoted(config.key);
  std::string text =
      config.key_is_generated ? "{\"key\":{\"Generated\":" : "{\"key\":{\"Provided\":";
  text += key + "}";
  if (!config.file.empty())
    text += ",\"config_file\":" + json_quoted(config.file);
  return base64(text + "}");
}

Error execution_error(const std::string& program, int number) {
  if (number == E2BIG)
    return system_error("starting `" + program + "`", number,
                        "Arguments and environment are too large together: take fewer remote "
                        "variables with feature.env.include or feature.env.exclude.");
  return system_error("starting `" + program + "`", number);
}

// As execve wants them; they point into `texts`.
std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out(texts.size() + 1, nullptr);
  for (std::size_t i = 0; i < texts.size(); ++i)
    out[i] = texts[i].data();
  return out;
}

// Replaces this process; returns what went wrong.
Error become(const std::string& program, std::vector<std::string> command,
             const VariableList& variables) {
  std::vector<std::string> entries = variables.entries();
  const std::vector<char*> environment = pointers(entries);
  restore_inherited_signals();
  execve(program.c_str(), pointers(command).data(), environment.data());
  if (errno != ENOEXEC)
    return execution_error(program, errno);
  // A text without `#!`: what a shell and execvp do.
  std::vector<std::string> words = {"/bin/sh", program};
  for (std::size_t i = 1; i < command.size(); ++i)
    words.push_back(command[i]);
  execve(words[0].c_str(), pointers(words).data(), environment.data());
  return execution_error(program, errno);
}

Status refuse_nested() {
  if (!config::process_environment(kNestedVariable))
    return {};
  return fail(ErrorCode::kUsage,
              "mirrord is already at work in this process: it was started by "
              "mirrord",
              "Start it once only: remove it from the script or from the editor's settings.");
}

// Everything would be taken, not what the filter picks: better nothing.
Status refuse_http_filter(const config::IncomingRules& rules) {
  if (rules.mode == config::IncomingMode::kOff || !rules.http_filter)
    return {};
  return fail(
      ErrorCode::kUnsupported,
      "feature.network.incoming.http_filter: requests cannot be told apart in this version, "
      "only whole ports be mirrored or stolen",
      "Remove the filter to take everything, or set feature.network.incoming.mode to `off`.");
}

class Execution {
 public:
  Execution(ExecRequest request, Progress& progress)
      : config_(std::move(request.config)),
        request_(std::move(request)),
        progress_(progress),
        timings_(request_.timings) {}

  Error run() {
    auto result = start();
    return std::move(result).error();
  }

 private:
  Status start();
  Status check_program();
  void show_config() const;
  std::vector<std::string> executables() const;
  Result<intproxy::StartedSession> start_session(const std::string& directory,
                                                 const std::string& hook,
                                                 std::vector<std::byte>& settings);

  config::ResolvedConfig config_;
  ExecRequest request_;
  Progress& progress_;
  Timings timings_;
  std::unique_ptr<k8s::AgentSessionRequest> cluster_;  // until the session has it
  std::string search_path_;
  std::string program_;
  ProgramKind kind_;
};

Status Execution::check_program() {
  if (request_.command.empty() || request_.command[0].empty())
    return fail(ErrorCode::kUsage, "no program to run is given",
                "Write it at the end: mirrord exec --target demo -- PROGRAM ARGUMENTS.");
  search_path_ = config::process_environment("PATH").value_or("/usr/local/bin:/usr/bin:/bin");
  MIRRORD_TRY(program, find_program(request_.command[0], search_path_));
  program_ = std::move(program);
  kind_ = inspect_program(program_, search_path_);
  for (const std::string& warning : program_warnings(kind_, request_.command[0]))
    progress_.warning(warning);
  return {};
}

void Execution::show_config() const {
  for (const std::string& warning : config_.warnings)
    progress_.warning(warning);
  if (progress_.mode() == ProgressMode::kJson ||
      config_.target.kind == config::TargetKind::kTargetless)
    return;
  for (const std::string& line : incoming_summary(config_.network.incoming))
    progress_.info(line);
}

// What must be read on this machine for the program to start at all.
std::vector<std::string> Execution::executables() const {
  std::vector<std::string> paths = {absolute_path(kind_.binary)};
  const std::string program = absolute_path(program_);
  if (program != paths[0])
    paths.push_back(program);
  if (program_.starts_with('/') && program_ != program)
    paths.push_back(program_);  // a symbolic link
  return paths;
}

Result<intproxy::StartedSession> Execution::start_session(const std::string& directory,
                                                          const std::string& hook,
                                                          std::vector<std::byte>& settings) {
  Progress step = progress_.subtask("starting the session");
  const AgentVariables variables(config_.agent, config_.agent_pod);
  intproxy::SessionOptions options = session_options(config_, directory, settings);
  if (cluster_)
    options.agent = {.cluster = std::move(cluster_)};
  // What cannot load the hook at all has been named above.
  if (progress_.mode() != ProgressMode::kOff && program_warnings(kind_, {}).empty()) {
    options.standard_error.reset(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    options.explain_not_loaded = [hook](pid_t process) {
      return explain_not_loaded(process, hook);
    };
  }
  std::optional<Progress> part;
  auto started = intproxy::start_session(std::move(options),
                                         [&](intproxy::StartStep kind, std::string_view text) {
                                           Progress& shown = part ? *part : step;
                                           switch (kind) {
                                             case intproxy::StartStep::kBegin:
                                               part.reset();
                                               part.emplace(step.subtask(text));
                                               break;
                                             case intproxy::StartStep::kDone:
                                               if (part)
                                                 part->success(text);
                                               part.reset();
                                               break;
                                             case intproxy::StartStep::kWarning:
                                               shown.warning(text);
                                               break;
                                             case intproxy::StartStep::kInfo:
                                               shown.info(text);
                                               break;
                                           }
                                         });
  part.reset();
  if (!started)
    return started;
  step.success();
  for (const intproxy::StartTiming& timing : started->timings)
    timings_.part(timing.part, timing.time);
  return started;
}

Status Execution::start() {
  MIRRORD_CHECK_STATUS(refuse_nested());
  MIRRORD_CHECK_STATUS(check_program());
  MIRRORD_CHECK_STATUS(refuse_http_filter(config_.network.incoming));
  show_config();
  timings_.mark("program");
  if (is_in_cluster(config_)) {
    MIRRORD_TRY(request, cluster_request(config_));
    cluster_ = std::make_unique<k8s::AgentSessionRequest>(std::move(request));
    timings_.mark("kubeconfig");
  }

  MIRRORD_TRY(hook, provide_hook());
  timings_.mark("hook");
  MIRRORD_TRY(directory, make_session_directory());
  SessionDirectory owner(directory);
  config::SettingsInput input;
  input.session_directory = directory;
  input.hook_path = hook;
  input.paths = config::path_context(config::process_environment, executables());
  input.ignored_ports = config::process_environment("MIRRORD_IGNORE_DEBUGGER_PORTS").value_or("");
  SessionVariables session{directory, hook, resolved_config_text(config_), kind_.is_go};
  input.environment = {std::string(local::kSessionVariable) + "=" + directory,
                       std::string(kNestedVariable) + "=" + session.resolved_config};
  MIRRORD_TRY(settings, config::build_settings(config_, input));
  timings_.mark("settings");
  MIRRORD_CHECK_STATUS(config::write_settings(directory, settings));
  timings_.mark("session directory");

  MIRRORD_TRY(started, start_session(directory, hook, settings));
  timings_.mark("intproxy, agent, environment");
  MIRRORD_TRY(variables, child_environment(environ, started.environment, config_, session));
  for (const auto& [name, value] : request_.extra_environment)
    variables.set(name, value);
  progress_.success("Ready!");
  timings_.mark("environment");
  timings_.print();
  owner.release();
  return std::unexpected(become(program_, request_.command, variables));
}

int exit_code(ErrorCode code, const std::string& what) {
  if (what.starts_with("the program `"))
    return code == ErrorCode::kNotFound ? 127 : 126;
  return code == ErrorCode::kUsage ? 2 : 1;
}

config::Environment exec_environment() {
  const std::string strict = config::process_environment("MIRRORD_CLI_STRICT_ENV").value_or("");
  if (strict != "1" && strict != "true")
    return config::process_environment;
  const std::string list =
      config::process_environment("MIRRORD_CLI_STRICT_ENV_ALLOWLIST").value_or("");
  const std::string allowed = " " + list + " HOME TMPDIR ";
  return [allowed](std::string_view name) -> std::optional<std::string> {
    for (std::size_t at = allowed.find(name); at != std::string::npos && !name.empty();
         at = allowed.find(name, at + 1)) {
      const auto is_edge = [](char c) { return c == ' ' || c == ','; };
      if (at > 0 && is_edge(allowed[at - 1]) && at + name.size() < allowed.size() &&
          is_edge(allowed[at + name.size()]))
        return config::process_environment(name);
    }
    return std::nullopt;
  };
}

}  // namespace

Error run_exec(ExecRequest request, Progress& progress) {
  return Execution(std::move(request), progress).run();
}

int report_error(const Error& error) {
  std::string text = "Error: " + error.what + "\n";
  if (!error.hint.empty())
    text += "  " + error.hint + "\n";
  std::fputs(text.c_str(), stderr);
  return exit_code(error.code, error.what);
}

int exec_main(int argc, char** argv) {
  auto flags = parse_exec_flags(argc, argv);
  if (!flags)
    return report_error(flags.error());
  if (flags->wants_help) {
    std::fputs(exec_help().c_str(), stdout);
    return 0;
  }
  config::LoadRequest load;
  load.environment = exec_environment();
  load.file = flags->config_file;
  if (load.file.empty())
    load.file = load.environment("MIRRORD_CONFIG_FILE").value_or("");
  load.overrides = std::move(flags->overrides);
  auto config = config::load(load);
  if (!config) {
    int code = 1;
    for (const Error& error : config.error())
      code = report_error(error);
    return code;
  }
  ExecRequest request;
  request.config = std::move(*config);
  request.command = std::move(flags->command);
  request.timings = flags->timings;
  Progress progress(progress_mode_from_environment(), "mirrord exec");
  const Error error = run_exec(std::move(request), progress);
  progress.failure();
  return report_error(error);
}

}  // namespace mirrord
