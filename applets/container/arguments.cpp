// applets/container/arguments.cpp — reads the words of `docker run …`.
#include "applets/container/arguments.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>
#include <utility>

namespace mirrord::container {
namespace {

constexpr std::array<std::string_view, 3> kRuntimes{"docker", "podman", "nerdctl"};
constexpr std::array<std::string_view, 2> kVerbs{"run", "create"};

// Where they stand for a directory, a socket, a proxy or a library, the runtime looks at them.
constexpr std::array<std::string_view, 9> kRuntimeNames{
    "PATH", "HOME", "USER", "TMPDIR", "SHELL", "TERM", "GODEBUG", "LOGNAME", "STORAGE_DRIVER"};
constexpr std::array<std::string_view, 11> kRuntimePrefixes{
    "LD_",       "DOCKER_",  "CONTAINER",   "XDG_", "SSL_", "NERDCTL_",
    "BUILDKIT_", "REGISTRY", "CONTAINERS_", "LC_",  "DBUS_"};

std::unexpected<Error> usage(std::string what) {
  return fail(ErrorCode::kUsage, std::move(what),
              "Write: mirrord container [FLAGS] -- docker run IMAGE …, or with podman or nerdctl.");
}

}  // namespace

bool is_runtime(const std::string& program) {
  const std::string_view name = std::string_view(program).substr(program.rfind('/') + 1);
  return std::ranges::find(kRuntimes, name) != kRuntimes.end();
}

bool is_for_runtime(const std::string& variable) {
  std::string upper = variable;
  std::ranges::transform(upper, upper.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  const auto begins = [&](std::string_view prefix) { return variable.starts_with(prefix); };
  return std::ranges::find(kRuntimeNames, variable) != kRuntimeNames.end() ||
         std::ranges::any_of(kRuntimePrefixes, begins) || upper.ends_with("_PROXY");
}

Result<ContainerCommand> parse_container_command(std::vector<std::string> words) {
  if (!words.empty() && words[0] == "--")
    words.erase(words.begin());
  if (words.empty())
    return usage("no container command is given");
  if (!is_runtime(words[0]))
    return usage("`" + words[0] + "` is no container runtime that mirrord knows");
  ContainerCommand command;
  command.runtime = words[0];
  std::size_t at = 1;
  if (at < words.size() && words[at] == "container")
    command.verb.push_back(words[at++]);
  if (at == words.size())
    return usage("`" + words[0] + "`: its command is missing");
  if (std::ranges::find(kVerbs, words[at]) == kVerbs.end())
    return usage("`" + words[0] + " " + words[at] + "` starts no container");
  command.verb.push_back(words[at++]);
  command.rest.assign(words.begin() + static_cast<std::ptrdiff_t>(at), words.end());
  constexpr std::string_view kIdentifierFlag = "--cidfile";
  for (std::size_t i = 0; i < command.rest.size() && command.rest[i] != "--"; ++i) {
    const std::string& word = command.rest[i];
    if (word == kIdentifierFlag && i + 1 < command.rest.size())
      command.identifier_file = command.rest[i + 1];
    else if (word.starts_with(kIdentifierFlag) && word[kIdentifierFlag.size()] == '=')
      command.identifier_file = word.substr(kIdentifierFlag.size() + 1);
    command.publishes_ports = command.publishes_ports || word == "-p" || word == "--publish" ||
                              word.starts_with("--publish=") || word == "-P";
  }
  return command;
}

}  // namespace mirrord::container
