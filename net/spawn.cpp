// net/spawn.cpp — posix_spawn(3) with an environment and streams.
#include "net/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

extern char** environ;

namespace mirrord::net {
namespace {

std::vector<std::string> whole_environment(
    const std::vector<std::pair<std::string, std::string>>& added) {
  std::vector<std::string> all;
  const auto is_replaced = [&](std::string_view entry) {
    return std::ranges::any_of(added, [&](const auto& one) {
      return entry.starts_with(one.first) && entry.substr(one.first.size()).starts_with('=');
    });
  };
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!is_replaced(*entry)) {
      all.emplace_back(*entry);
    }
  }
  for (const auto& [name, value] : added) {
    all.push_back(name + "=" + value);
  }
  return all;
}

class Setup {
 public:
  Setup() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    sigset_t all;
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~Setup() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  Setup(const Setup&) = delete;
  Setup& operator=(const Setup&) = delete;

  void use(int descriptor, int number) {
    if (descriptor == SpawnStreams::kNothing) {
      posix_spawn_file_actions_addopen(&actions, number, "/dev/null",
                                       number == STDIN_FILENO ? O_RDONLY : O_WRONLY, 0);
    } else if (descriptor != SpawnStreams::kInherited) {
      posix_spawn_file_actions_adddup2(&actions, descriptor, number);
    }
  }

  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
};

}  // namespace

std::vector<char*> exec_pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  list.reserve(texts.size() + 1);
  for (std::string& text : texts) {
    list.push_back(text.data());
  }
  list.push_back(nullptr);
  return list;
}

Result<pid_t> spawn(std::vector<std::string> words,
                    const std::vector<std::pair<std::string, std::string>>& environment,
                    SpawnStreams streams) {
  Setup setup;
  setup.use(streams.input, STDIN_FILENO);
  setup.use(streams.output, STDOUT_FILENO);
  setup.use(streams.messages, STDERR_FILENO);
  std::vector<std::string> entries = whole_environment(environment);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, words[0].c_str(), &setup.actions, &setup.attributes,
                                   exec_pointers(words).data(), exec_pointers(entries).data());
  if (error != 0) {
    return fail_system("starting `" + words[0] + "`", error);
  }
  return pid;
}

}  // namespace mirrord::net
