// net/command.h — runs a program of the user's and takes what it prints.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/error.h"

namespace mirrord::net {

struct Command {
  std::vector<std::string> words;  // the program, with a slash or looked up in PATH; its arguments
  std::vector<std::pair<std::string, std::string>> environment;  // on top of this process's own
  // The user may be asked: standard input and error are this process's, and there is no time limit.
  // Otherwise the input is empty.
  bool is_interactive = false;
  std::chrono::milliseconds timeout{60'000};
};

struct CommandOutput {
  std::string output;
  std::string messages;  // its standard error, the last part of it; empty if interactive
  int status = 0;        // as wait(2) gives it
};

// Blocks. Errors: it cannot be started (kNotFound, …), it takes too long and was killed (kTimeout),
// it prints too much.
Result<CommandOutput> run_command(const Command& command);

// What a program has said about its failure, for an error: one line, the last 400 bytes.
std::string in_one_line(std::string_view text);

// "ended with status 3", "was killed by signal 9".
std::string status_text(int status);

}  // namespace mirrord::net
