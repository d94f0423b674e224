// applets/exec.cpp — `mirrord exec`: starts a session on a target and becomes the user's program.
#include "applets/exec.h"

#include <errno.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "applets/applet.h"
#include "applets/child_environment.h"
#include "applets/config/load.h"
#include "applets/config/target.h"
#include "applets/incoming_summary.h"
#include "applets/program.h"
#include "applets/session_flags.h"
#include "applets/session_start.h"
#include "applets/timings.h"
#include "net/spawn.h"

namespace mirrord {
namespace {

constexpr std::array kOwnFlags = {
    Flag{"timings", 0, Takes::kNothing, "", "", "", "print how long each step of the start took"}};

Error execution_error(const std::string& program, int number) {
  if (number == E2BIG)
    return system_error("starting `" + program + "`", number,
                        "Arguments and environment are too large together: take fewer remote "
                        "variables with feature.env.include or feature.env.exclude.");
  return system_error("starting `" + program + "`", number);
}

// Replaces this process; returns what went wrong.
Error become(const std::string& program, std::vector<std::string> command,
             const VariableList& variables) {
  std::vector<std::string> entries = variables.entries();
  const std::vector<char*> environment = net::exec_pointers(entries);
  restore_inherited_signals();
  execve(program.c_str(), net::exec_pointers(command).data(), environment.data());
  if (errno != ENOEXEC)
    return execution_error(program, errno);
  // A text without `#!`: what a shell and execvp do.
  std::vector<std::string> words = {"/bin/sh", program};
  for (std::size_t i = 1; i < command.size(); ++i)
    words.push_back(command[i]);
  execve(words[0].c_str(), net::exec_pointers(words).data(), environment.data());
  return execution_error(program, errno);
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
  void show_incoming() const;
  std::vector<std::string> executables() const;

  config::ResolvedConfig config_;
  ExecRequest request_;
  Progress& progress_;
  Timings timings_;
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

void Execution::show_incoming() const {
  if (progress_.mode() == ProgressMode::kJson ||
      config_.target.kind == config::TargetKind::kTargetless)
    return;
  for (const std::string& line : incoming_summary(config_.network.incoming))
    progress_.info(line);
}

Status Execution::start() {
  MIRRORD_CHECK_STATUS(refuse_nested());
  MIRRORD_CHECK_STATUS(check_program());
  SessionStart session(config_, progress_, timings_);
  session.show_warnings();
  show_incoming();
  timings_.mark("program");
  SessionPlan plan{.command = "exec"};
  plan.local_files = executables();
  plan.is_go = kind_.is_go;
  // What cannot load the hook at all has been named above.
  plan.explains_not_loaded =
      progress_.mode() != ProgressMode::kOff && program_warnings(kind_, {}).empty();
  MIRRORD_CHECK_STATUS(session.start(plan));
  MIRRORD_TRY(variables,
              session.environment({environ, request_.command, request_.extra_environment}));
  progress_.success("Ready!");
  timings_.mark("environment");
  timings_.print();
  session.release();
  if (request_.before_program)
    request_.before_program();
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

Status refuse_nested() {
  if (!config::process_environment(kResolvedConfigVariable))
    return {};
  return fail(ErrorCode::kUsage,
              "mirrord is already at work in this process: it was started by "
              "mirrord",
              "Start it once only: remove it from the script or from the editor's settings.");
}

Error run_exec(ExecRequest request, Progress& progress) {
  return Execution(std::move(request), progress).run();
}

std::expected<ExecRequest, std::vector<Error>> exec_request(const CommandLine& line) {
  auto config = config::load(load_request(line, exec_environment()));
  if (!config)
    return std::unexpected(std::move(config).error());
  ExecRequest request;
  request.config = std::move(*config);
  request.command = line.words;
  request.timings = line.has("timings");
  return request;
}

int report_error(const Error& error) {
  std::string text = "Error: " + error.what + "\n";
  if (!error.hint.empty())
    text += "  " + error.hint + "\n";
  std::fputs(text.c_str(), stderr);
  return exit_code(error.code, error.what);
}

void print_warning(const std::string& line) {
  std::fputs(("mirrord: warning: " + line + "\n").c_str(), stderr);
}

int report_errors(const std::vector<Error>& errors) {
  int code = 1;
  for (const Error& error : errors)
    code = report_error(error);
  return code;
}

std::vector<Command> exec_commands() {
  return {{
      .name = "exec",
      .purpose = "Runs a program as if it ran in a target: with its files, environment, names and "
                 "network.",
      .usages = {"[FLAGS] [--] PROGRAM [ARGUMENTS]"},
      .flags = {{"Flags", session_flags()}, {"Flags of exec", kOwnFlags}},
      .examples = {{"mirrord exec -t deployment/shop -- node server.js",
                    "runs the server as if in a pod of the deployment"},
                   {"mirrord exec -t pod/shop-7d4 --steal -- python3 -m http.server 8080",
                    "and takes the traffic that comes to port 8080"},
                   {"mirrord exec -f mirrord.json -- go test ./...",
                    "the target and all else stand in the file"},
                   {"mirrord exec -t process/1234 -- bash",
                    "no cluster: the target is a process of this machine"}},
      .notes = "A flag wins over its environment variable (in brackets), that over the "
               "configuration file.\n"
               "`mirrord config keys` lists all keys, `mirrord config show` what they are now.",
      .words = Words::kProgram,
  }};
}

int exec_main(int argc, char** argv) {
  auto line = read_command_line(exec_commands().front(), argc, argv, report_error);
  if (!line)
    return line.error();
  auto request = exec_request(*line);
  if (!request)
    return report_errors(request.error());
  Progress progress(progress_mode_from_environment(), "mirrord exec");
  const Error error = run_exec(std::move(*request), progress);
  progress.failure();
  return report_error(error);
}

}  // namespace mirrord
