// applets/exec.h — starts a session on a target and becomes the user's program.
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <vector>

#include "applets/command_line.h"
#include "applets/config/config.h"
#include "applets/progress.h"
#include "net/error.h"

namespace mirrord {

struct ExecRequest {
  config::ResolvedConfig config;
  std::vector<std::string> command;  // program and its arguments; the first is what argv[0] will be
  // Set over the session's environment, last (demo's own variables).
  config::StringPairs extra_environment;
  bool timings = false;                  // print what each phase took, to stderr
  std::function<void()> before_program;  // the last thing before this process becomes the program
};

// An error if mirrord has started this process: one session inside another is none that anyone wants.
Status refuse_nested();

// What a command line with the flags of exec asks for.
std::expected<ExecRequest, std::vector<Error>> exec_request(const CommandLine& line);

// Starts the intproxy (and through it the agent), prepares the environment and replaces this
// process by the program. Returns only on failure, with everything that it started ended.
Error run_exec(ExecRequest request, Progress& progress);

// Prints "Error: what" and the hint to stderr; returns the exit code that belongs to it.
int report_error(const Error& error);
// "mirrord: warning: line", for what happens during a command.
void print_warning(const std::string& line);
// report_error for all of a configuration's; the code is the last one's.
int report_errors(const std::vector<Error>& errors);

}  // namespace mirrord
