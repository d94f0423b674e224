// k8s/command.cpp — posix_spawn, two pipes, one deadline.
#include "k8s/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "net/fd.h"

namespace mirrord::k8s {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMaxOutput = std::size_t{4} * 1024 * 1024;
constexpr std::size_t kMaxMessages = 4096;
constexpr std::chrono::milliseconds kTick{50};        // notices an end that closes no pipe
constexpr std::chrono::milliseconds kShortTick{2};    // when only the end itself is missing
constexpr std::chrono::milliseconds kLastWords{200};  // what others hold open is not waited for

struct Pipe {
  Fd read, write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail_system("making a pipe", errno);
  }
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

std::vector<std::string> whole_environment(const Command& command) {
  std::vector<std::string> all;
  const auto is_replaced = [&](std::string_view entry) {
    return std::ranges::any_of(command.environment, [&](const auto& added) {
      return entry.starts_with(added.first) && entry.substr(added.first.size()).starts_with('=');
    });
  };
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!is_replaced(*entry)) {
      all.emplace_back(*entry);
    }
  }
  for (const auto& [name, value] : command.environment) {
    all.push_back(name + "=" + value);
  }
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (std::string& text : texts) {
    list.push_back(text.data());
  }
  list.push_back(nullptr);
  return list;
}

class SpawnSetup {
 public:
  SpawnSetup() {
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
  ~SpawnSetup() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;

  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
};

// A child that is not left behind.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  ~Child() {
    if (!has_ended_) {
      ::kill(pid_, SIGKILL);
      while (::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
      }
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  bool has_ended() {
    if (!has_ended_ && ::waitpid(pid_, &status_, WNOHANG) != 0) {
      has_ended_ = true;
    }
    return has_ended_;
  }
  [[nodiscard]] int status() const { return status_; }

 private:
  pid_t pid_;
  int status_ = 0;
  bool has_ended_ = false;
};

// Reads what is there; closes the descriptor at the end. False when it is too much.
bool drain(Fd& from, std::string& into, std::size_t limit, bool keep_last) {
  std::array<char, 16384> piece;
  const ssize_t count = ::read(from.get(), piece.data(), piece.size());
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) {
    return true;
  }
  if (count <= 0) {
    from.reset();
    return true;
  }
  into.append(piece.data(), static_cast<std::size_t>(count));
  if (into.size() > limit) {
    if (!keep_last) {
      return false;
    }
    into.erase(0, into.size() - limit);
  }
  return true;
}

}  // namespace

std::string status_text(int status) {
  return WIFSIGNALED(status) ? "was killed by signal " + std::to_string(WTERMSIG(status))
                             : "ended with status " + std::to_string(WEXITSTATUS(status));
}

Result<CommandOutput> run_command(const Command& command) {
  MIRRORD_TRY(output, make_pipe());
  MIRRORD_TRY(messages, make_pipe());
  SpawnSetup setup;
  posix_spawn_file_actions_adddup2(&setup.actions, output.write.get(), STDOUT_FILENO);
  if (!command.is_interactive) {
    posix_spawn_file_actions_addopen(&setup.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&setup.actions, messages.write.get(), STDERR_FILENO);
  }
  std::vector<std::string> words = command.words;
  std::vector<std::string> environment = whole_environment(command);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, words[0].c_str(), &setup.actions, &setup.attributes,
                                   pointers(words).data(), pointers(environment).data());
  if (error != 0) {
    return fail_system("starting `" + command.words[0] + "`", error);
  }
  Child child(pid);
  output.write.reset();
  messages.write.reset();

  CommandOutput result;
  auto deadline = Clock::now() + command.timeout;
  bool is_ending = false;
  while (output.read || messages.read || !is_ending) {
    std::array<pollfd, 2> watched{pollfd{output.read.get(), POLLIN, 0},
                                  pollfd{messages.read.get(), POLLIN, 0}};
    const auto tick = output.read || messages.read ? kTick : kShortTick;
    ::poll(watched.data(), watched.size(), static_cast<int>(tick.count()));
    if (watched[0].revents != 0 && !drain(output.read, result.output, kMaxOutput, false)) {
      return fail(ErrorCode::kConfig, "`" + command.words[0] + "` prints too much");
    }
    if (watched[1].revents != 0) {
      drain(messages.read, result.messages, kMaxMessages, true);
    }
    if (!is_ending && child.has_ended()) {
      is_ending = true;
      deadline = Clock::now() + kLastWords;
    } else if (is_ending || !command.is_interactive) {
      if (Clock::now() >= deadline && is_ending) {
        break;
      }
      if (Clock::now() >= deadline) {
        return fail(ErrorCode::kTimeout,
                    "`" + command.words[0] + "` did not end within " +
                        std::to_string(command.timeout.count() / 1000) + " seconds" +
                        (result.messages.empty() ? "" : ": " + result.messages));
      }
    }
  }
  result.status = child.status();
  return result;
}

}  // namespace mirrord::k8s
