// applets/session_start.cpp — settings, intproxy, agent and environment of a new session.
#include "applets/session_start.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <span>
#include <utility>

#include "applets/cluster_request.h"
#include "applets/config/load.h"
#include "applets/config/path_mapping.h"
#include "applets/config/settings_file.h"
#include "applets/config_summary.h"
#include "applets/hook_file.h"
#include "applets/intproxy/user_notice.h"
#include "applets/json_text.h"
#include "applets/load_check.h"
#include "applets/local_redis.h"
#include "applets/private_directory.h"
#include "applets/target_source.h"
#include "net/file.h"

namespace mirrord {
namespace {

// Settings that an agent which the session starts reads from its environment; taken back at the end.
class AgentVariables {
 public:
  AgentVariables(const config::AgentOptions& agent, const k8s::AgentSettings& pod) {
    set("MIRRORD_AGENT_STEALER_FLUSH_CONNECTIONS", std::uint64_t{pod.flush_connections});
    set("MIRRORD_MAX_BODY_BUFFER_SIZE", pod.max_body_buffer_size);
    set("MIRRORD_MAX_BODY_BUFFER_TIMEOUT", pod.max_body_buffer_timeout);
    set("MIRRORD_AGENT_HTTP_DETECTION_TIMEOUT", pod.http_detection_timeout);
    set("MIRRORD_AGENT_INJECT_HEADERS", std::uint64_t{pod.inject_headers});
    set("MIRRORD_AGENT_OVERRIDE_CACHE_CONTROL", std::uint64_t{pod.override_cache_control});
    if (pod.nftables)
      set("MIRRORD_AGENT_NFTABLES", std::uint64_t{*pod.nftables});
    set("MIRRORD_AGENT_DNS_TIMEOUT", agent.dns_timeout_seconds);
    set("MIRRORD_AGENT_DNS_ATTEMPTS", agent.dns_attempts);
    put("RUST_LOG", agent.log_level);  // the user's own is about other programs
  }
  AgentVariables(const AgentVariables&) = delete;
  AgentVariables& operator=(const AgentVariables&) = delete;
  ~AgentVariables() {
    for (const auto& [name, value] : before_) {
      if (value)
        setenv(name, value->c_str(), 1);  // NOLINT(concurrency-mt-unsafe): one thread
      else
        unsetenv(name);  // NOLINT(concurrency-mt-unsafe): one thread
    }
  }

 private:
  // One that the user has set stays.
  void set(const char* name, std::optional<std::uint64_t> value) {
    if (value && !config::process_environment(name))
      put(name, std::to_string(*value));
  }
  void put(const char* name, const std::string& value) {
    before_.emplace_back(name, config::process_environment(name));
    setenv(name, value.c_str(), 1);  // NOLINT(concurrency-mt-unsafe): one thread
  }
  std::vector<std::pair<const char*, std::optional<std::string>>> before_;
};

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

// MIRRORD_LOG stands in place of the configured level.
log::Settings log_settings(const config::ProxyOptions& proxy) {
  const auto filter = config::process_environment("MIRRORD_LOG");
  return {.filter = filter.value_or(proxy.log_level),
          .format = proxy.json_log ? log::Format::kJson : log::Format::kText,
          .console = config::process_environment("MIRRORD_CONSOLE_ADDR").value_or(""),
          .console_filter = filter.value_or("")};
}

intproxy::SessionOptions session_options(const config::ResolvedConfig& config,
                                         const std::string& directory,
                                         std::span<const std::byte> settings) {
  intproxy::SessionOptions options;
  options.directory = directory;
  options.agent = local_source(config.target);
  options.log = log_settings(config.proxy);
  options.connect_timeout = config::setting_seconds(config.agent.startup_timeout_seconds);
  options.start_idle_timeout = config::setting_seconds(config.proxy.start_idle_timeout_seconds);
  options.idle_timeout = config::setting_seconds(config.proxy.idle_timeout_seconds);
  options.ping_interval = config::setting_seconds(config.proxy.ping_interval_seconds);
  options.reconnect_timeout = config::setting_seconds(config.proxy.reconnect_timeout_seconds);
  options.readonly_file_buffer = config.files.readonly_buffer;
  options.environment_include = config.environment.include;
  options.environment_exclude = config.environment.exclude;
  options.incoming = config.network.incoming;
  options.map_path = path_mapper(config, settings);
  return options;
}

}  // namespace

std::string resolved_config_text(const config::ResolvedConfig& config) {
  const std::string key = json_quoted(config.key);
  std::string text =
      config.key_is_generated ? "{\"key\":{\"Generated\":" : "{\"key\":{\"Provided\":";
  text += key + "}";
  if (!config.file.empty())
    text += ",\"config_file\":" + json_quoted(config.file);
  return base64(text + "}");
}

// The whole path, as the hook's rules and the program's children see it.
std::string absolute_path(const std::string& path) {
  std::array<char, PATH_MAX> resolved{};
  return realpath(path.c_str(), resolved.data()) != nullptr ? resolved.data() : path;
}

SessionStart::SessionStart(const config::ResolvedConfig& config, Progress& progress,
                           Timings& timings)
    : config_(config), progress_(progress), timings_(timings) {}

SessionStart::~SessionStart() {
  if (intproxy_)
    syscall(SYS_pidfd_send_signal, intproxy_.get(), SIGTERM, nullptr, 0);
}

void SessionStart::show_warnings() const {
  for (const std::string& warning : config_.warnings)
    progress_.warning(warning);
  const config::Target& target = config_.target;
  if (target.kind == config::TargetKind::kKubernetes &&
      (target.path.kind == k8s::TargetKind::kDeployment ||
       target.path.kind == k8s::TargetKind::kRollout))
    progress_.ide_message(
        {.id = "multipod_warning",
         .is_warning = true,
         .text = target.name + " may have several pods: the session runs in one of them, and sees "
                               "the traffic of that one only.",
         .links = {}});
}

// Here, where its path means what the user wrote.
Fd SessionStart::open_log_file() const {
  if (config_.proxy.log_destination.empty())
    return {};
  auto file = log::open_file(config_.proxy.log_destination);
  if (file)
    return std::move(*file);
  progress_.warning(file.error().what + "; the session's log is " + variables_.directory +
                    "/log, as long as the session lasts");
  return {};
}

void SessionStart::log_configuration() const {
  log_->info(log::Component::kConfig,
             config_.file.empty() ? "no configuration file" : "configuration " + config_.file);
  if (!log_->wants(log::Component::kConfig, log::Level::kDebug))
    return;
  for (const std::string& line : config_summary(config_))
    log_->write(log::Component::kConfig, log::Level::kDebug, line);
}

Result<std::vector<Fd>> SessionStart::start_local_redis() const {
  std::vector<Fd> lifelines;
  for (const config::LocalRedis& redis : config_.local_redis) {
    Progress step = progress_.subtask("starting local Redis");
    MIRRORD_TRY(started, mirrord::start_local_redis(redis));
    const std::string text =
        "Redis (" + started.runtime + ") on localhost:" + std::to_string(redis.port);
    log_->info(log::Component::kSession, text);
    step.success(text);
    lifelines.push_back(std::move(started.lifeline));
    timings_.mark("local Redis");
  }
  return lifelines;
}

Status SessionStart::start(const SessionPlan& plan) {
  MIRRORD_TRY(log, open_command_log(plan.command));
  log_ = std::move(log);
  log_configuration();
  MIRRORD_TRY(tls_trust, intproxy::load_tls_trust(config_.network.incoming.tls_delivery));
  if (is_in_cluster(config_) && !plan.placement) {
    progress_.leave_terminal();  // a credential plugin may ask there
    MIRRORD_TRY(request, cluster_request(config_, log_));
    cluster_ = std::make_unique<k8s::AgentSessionRequest>(std::move(request));
    timings_.mark("kubeconfig");
  }
  MIRRORD_TRY(hook, plan.placement ? plan.placement->hook_path : provide_hook());
  timings_.mark("hook");
  MIRRORD_TRY(directory, plan.placement ? plan.placement->directory : make_session_directory());
  directory_ = std::make_unique<SessionDirectory>(directory);
  variables_ = {directory, hook, resolved_config_text(config_), plan.is_go};
  config::SettingsInput input;
  input.session_directory = directory;
  input.hook_path = hook;
  if (plan.placement)
    input.keeps_own_files = true;
  else
    input.paths = config::path_context(config::process_environment, plan.local_files);
  input.logs_decisions =
      log::wants(log_settings(config_.proxy), log::Component::kHook, log::Level::kDebug);
  input.ignored_ports = config::process_environment("MIRRORD_IGNORE_DEBUGGER_PORTS").value_or("");
  input.environment = {std::string(local::kSessionVariable) + "=" + directory,
                       std::string(kResolvedConfigVariable) + "=" + variables_.resolved_config};
  log_->debug(log::Component::kSession,
              [&] { return "session directory " + directory + ", hook " + hook; });
  MIRRORD_TRY(settings, config::build_settings(config_, input));
  timings_.mark("settings");
  MIRRORD_CHECK_STATUS(config::write_settings(directory, settings));
  if (plan.placement && chmod((directory + "/" + local::kSettingsFile).c_str(), 0644) != 0)
    return fail_system("let all users read the session's settings", errno);
  timings_.mark("session directory");

  intproxy::SessionOptions options = session_options(config_, directory, settings);
  options.waits_for_programs = plan.waits_for_programs;
  if (plan.placement) {
    options.agent = {.stream_server = plan.placement->stream_server};
    options.serves_container = true;
    options.notices.reset(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  } else {
    options.log_file = open_log_file();
  }
  MIRRORD_TRY(lifelines, start_local_redis());
  options.lifelines = std::move(lifelines);
  options.tls_trust = std::move(tls_trust);
  if (plan.explains_not_loaded) {
    // The editor's own helpers (a debugger, a compiler) are among the programs that it starts.
    options.explain_not_loaded = [hook, skipped = plan.waits_for_programs
                                                      ? config::skipped_processes(config_)
                                                      : std::vector<std::string>()](pid_t process) {
      return is_left_alone(process, skipped) ? "" : explain_not_loaded(process, hook);
    };
  }
  if (!plan.waits_for_programs) {
    options.notices = intproxy::keep_if_regular(STDERR_FILENO);
    if (plan.explains_not_loaded)
      options.standard_error.reset(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  }
  MIRRORD_TRY(started, run(std::move(options)));
  remote_ = std::move(started.environment);
  log_->info(log::Component::kSession, "intproxy " + std::to_string(started.intproxy_pid) +
                                           " is ready, agent " + started.agent_version + ", " +
                                           std::to_string(remote_.size()) +
                                           " variables of the target");
  intproxy_.reset(static_cast<int>(syscall(SYS_pidfd_open, started.intproxy_pid, 0)));
  timings_.mark("intproxy, agent, environment");
  return {};
}

Result<intproxy::StartedSession> SessionStart::run(intproxy::SessionOptions options) {
  Progress step = progress_.subtask("starting the session");
  std::optional<AgentVariables> variables;
  if (cluster_)
    options.agent = {.cluster = std::move(cluster_)};
  else
    variables.emplace(config_.agent, config_.agent_pod);
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

// Names only: values may be secrets.
void SessionStart::log_replaced_variables(const char* const* inherited,
                                          const VariableList& whole) const {
  log_->debug(log::Component::kConfig, [&] {
    std::string names;
    for (const std::string& entry : VariableList(inherited).entries()) {
      const std::size_t equals = entry.find('=');
      const std::string* now = whole.find(entry.substr(0, equals));
      if (now != nullptr && *now != entry.substr(equals + 1))
        names += " " + entry.substr(0, equals);
    }
    return "variables of this machine that the program sees otherwise:" +
           (names.empty() ? " none" : names);
  });
}

Result<VariableList> SessionStart::environment(const Program& program) const {
  MIRRORD_TRY(whole, child_environment(program.inherited, remote_, config_, variables_));
  for (const auto& [name, value] : program.last)
    whole.set(name, value);
  log_replaced_variables(program.inherited, whole);
  const bool is_too_large = !program.arguments.empty() && !fits_execve(whole, program.arguments);
  if (!is_too_large && !config_.environment.load_from_process)
    return whole;
  SplitEnvironment split = split_environment(whole, program.inherited, config_, variables_);
  MIRRORD_CHECK_STATUS(
      net::write_private_file(variables_.directory + "/" + local::kEnvironmentFile, split.loaded));
  if (is_too_large)
    progress_.warning(
        "the environment is too large for the start of a program: this one loads it itself, "
        "but may not be able to start others. feature.env.include or exclude make it smaller.");
  if (variables_.is_go)
    progress_.warning(
        "Go programs read their environment before the target's variables are loaded.");
  return std::move(split.started);
}

void SessionStart::release_and_wait() {
  directory_->release();
  pollfd ended{intproxy_.get(), POLLIN, 0};
  while (poll(&ended, 1, -1) < 0 && errno == EINTR) {
  }
  intproxy_.reset();
}

void SessionStart::release() {
  directory_->release();
  intproxy_.reset();
}

}  // namespace mirrord
