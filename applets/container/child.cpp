// applets/container/child.cpp — posix_spawn, one pipe, a pidfd.
#include "applets/container/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "applets/child_environment.h"

extern char** environ;

namespace mirrord::container {
namespace {

constexpr std::size_t kLongestLine = 16 << 10;

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (std::string& text : texts)
    list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

}  // namespace

Result<std::unique_ptr<Child>> Child::start(net::Loop& loop, std::vector<std::string> words,
                                            const Environment& environment, Handlers handlers) {
  std::array<int, 2> ends{-1, -1};
  if (handlers.output && pipe2(ends.data(), O_CLOEXEC) != 0)
    return fail_system("create a pipe", errno);
  Fd output(ends[0]);
  const Fd output_in(ends[1]);
  VariableList variables(environ);
  for (const auto& [name, value] : environment)
    variables.set(name, value);
  std::vector<std::string> entries = variables.entries();

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  if (output_in) {
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output_in.get(), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output_in.get(), STDERR_FILENO);
  }
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, words[0].c_str(), &actions, &attributes,
                                 pointers(words).data(), pointers(entries).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0)
    return fail_system("starting `" + words[0] + "`", error);
  return std::unique_ptr<Child>(new Child(loop, pid, std::move(output), std::move(handlers)));
}

Child::Child(net::Loop& loop, pid_t pid, Fd output, Handlers handlers)
    : pid_(pid),
      pidfd_(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))),
      output_(std::move(output)),
      handlers_(std::move(handlers)),
      ending_(std::make_unique<net::FdWatcher>(loop, pidfd_.get(), [this](int) { on_ended(); })) {
  ending_->watch(net::FdWatcher::kReadable);
  if (output_) {
    fcntl(output_.get(), F_SETFL, O_NONBLOCK);
    reading_ =
        std::make_unique<net::FdWatcher>(loop, output_.get(), [this](int) { read_output(); });
    reading_->watch(net::FdWatcher::kReadable);
  }
}

Child::~Child() {
  ending_.reset();
  reading_.reset();
  if (!has_ended_) {
    signal(SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
}

void Child::signal(int number) const {
  syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0);
}

void Child::read_output() {
  std::array<char, 4096> piece;
  const ssize_t count = read(output_.get(), piece.data(), piece.size());
  if (count < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (count <= 0) {
    reading_->watch(net::FdWatcher::kNone);
    return;
  }
  line_.append(piece.data(), static_cast<std::size_t>(count));
  for (std::size_t end = line_.find('\n'); end != std::string::npos; end = line_.find('\n')) {
    const std::string line = line_.substr(0, end);
    line_.erase(0, end + 1);
    handlers_.output(line);
  }
  if (line_.size() > kLongestLine)
    line_.clear();
}

void Child::on_ended() {
  if (reading_) {
    // What it printed last may not have been read; a child of its own may keep the pipe open.
    pollfd readable{output_.get(), POLLIN, 0};
    while (poll(&readable, 1, 0) > 0 && (readable.revents & POLLIN) != 0)
      read_output();
    reading_.reset();
    if (!line_.empty())
      handlers_.output(std::exchange(line_, {}));
  }
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  has_ended_ = true;
  ending_->watch(net::FdWatcher::kNone);
  handlers_.ended(status);
}

}  // namespace mirrord::container
