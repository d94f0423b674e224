// applets/container/child.cpp — one pipe, a pidfd.
#include "applets/container/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "net/pipe.h"
#include "net/spawn.h"

namespace mirrord::container {
namespace {

constexpr std::size_t kLongestLine = 16 << 10;

}  // namespace

Result<std::unique_ptr<Child>> Child::start(net::Loop& loop, std::vector<std::string> words,
                                            const Environment& environment, Handlers handlers) {
  net::Pipe output;
  net::SpawnStreams streams;
  if (handlers.output) {
    MIRRORD_TRY(made, net::make_pipe());
    output = std::move(made);
    streams = {.input = net::SpawnStreams::kNothing,
               .output = output.write.get(),
               .messages = output.write.get()};
  }
  MIRRORD_TRY(pid, net::spawn(std::move(words), environment, streams));
  return std::unique_ptr<Child>(new Child(loop, pid, std::move(output.read), std::move(handlers)));
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
