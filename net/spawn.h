// net/spawn.h — starts another program.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "net/error.h"

namespace mirrord::net {

// A program's standard streams: descriptors, this process's own, or nothing.
struct SpawnStreams {
  static constexpr int kInherited = -1;
  static constexpr int kNothing = -2;
  int input = kInherited;
  int output = kInherited;
  int messages = kInherited;
};

// The program has a slash or is looked up in PATH. `environment` goes over this process's own. Signals are neither
// blocked nor ignored in it. Works with threads.
Result<pid_t> spawn(std::vector<std::string> words,
                    const std::vector<std::pair<std::string, std::string>>& environment,
                    SpawnStreams streams);

// As execve wants them: with a null at the end. They point into `texts`.
std::vector<char*> exec_pointers(std::vector<std::string>& texts);

}  // namespace mirrord::net
