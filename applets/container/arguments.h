// applets/container/arguments.h — the user's container command: which runtime, what it is to do, and where our own
// options go into it.
#pragma once

#include <string>
#include <vector>

#include "net/error.h"

namespace mirrord::container {

struct ContainerCommand {
  std::string runtime;            // as the user wrote it: docker, /usr/bin/podman
  std::vector<std::string> verb;  // "run", or "container" "run"
  std::vector<std::string> rest;  // all that follows
  std::string identifier_file;    // of --cidfile; empty: none is given
  bool publishes_ports = false;   // -p or --publish before the image: without effect
};

// The error says which runtimes and commands there are.
Result<ContainerCommand> parse_container_command(std::vector<std::string> words);

// docker, podman and nerdctl; by the file's name.
bool is_runtime(const std::string& program);

// A variable that changes what the runtime's command itself does, if it stands in its environment.
bool is_for_runtime(const std::string& variable);

}  // namespace mirrord::container
