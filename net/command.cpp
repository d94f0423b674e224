// net/command.cpp — two pipes, one deadline.
#include "net/command.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "net/fd.h"
#include "net/pipe.h"
#include "net/spawn.h"

namespace mirrord::net {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMaxOutput = std::size_t{4} * 1024 * 1024;
constexpr std::size_t kMaxMessages = 4096;
constexpr std::size_t kLongestLine = 400;
constexpr std::chrono::milliseconds kTick{50};        // notices an end that closes no pipe
constexpr std::chrono::milliseconds kShortTick{2};    // when only the end itself is missing
constexpr std::chrono::milliseconds kLastWords{200};  // what others hold open is not waited for

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

std::string in_one_line(std::string_view text) {
  std::string line;
  for (const char c : text) {
    if (c != '\n') {
      line += c;
    } else if (!line.empty() && !line.ends_with(' ')) {
      line += "; ";
    }
  }
  while (line.ends_with(' ') || line.ends_with(';')) {
    line.pop_back();
  }
  return line.size() > kLongestLine ? "…" + line.substr(line.size() - kLongestLine) : line;
}

std::string status_text(int status) {
  return WIFSIGNALED(status) ? "was killed by signal " + std::to_string(WTERMSIG(status))
                             : "ended with status " + std::to_string(WEXITSTATUS(status));
}

Result<CommandOutput> run_command(const Command& command) {
  MIRRORD_TRY(output, make_pipe());
  MIRRORD_TRY(messages, make_pipe());
  SpawnStreams streams;
  streams.output = output.write.get();
  if (!command.is_interactive) {
    streams.input = SpawnStreams::kNothing;
    streams.messages = messages.write.get();
  }
  MIRRORD_TRY(pid, spawn(command.words, command.environment, streams));
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

}  // namespace mirrord::net
