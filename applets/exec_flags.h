// applets/exec_flags.h — the command line of `mirrord exec`.
#pragma once

#include <string>
#include <vector>

#include "applets/config/load.h"
#include "net/error.h"

namespace mirrord {

struct ExecFlags {
  config::Overrides overrides;
  std::string config_file;
  std::vector<std::string> command;
  bool timings = false;
  bool wants_help = false;
};

// `argv[0]` is the command's name. Errors have the code kUsage.
Result<ExecFlags> parse_exec_flags(int argc, const char* const* argv);

std::string exec_help();

}  // namespace mirrord
