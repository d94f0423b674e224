// applets/agent/incoming/detection.cpp — MSG_PEEK until the first bytes decide.
#include "applets/agent/incoming/detection.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

namespace mirrord::agent {
namespace {

constexpr std::chrono::milliseconds kPause{10};

void wake_from(int socket, int bytes) {
  ::setsockopt(socket, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes);
}

bool has_ended(int socket) {
  pollfd state{.fd = socket, .events = POLLRDHUP, .revents = 0};
  return ::poll(&state, 1, 0) > 0;
}

}  // namespace

std::optional<HttpDetection::Detected> HttpDetection::start(Done done) {
  const Detected what = look();
  if (what != Detected::kNeedsMore)
    return what;
  done_ = std::move(done);
  deadline_.emplace(loop_);
  deadline_->start(limit_, [this] { finish(Detected::kOther); });
  watcher_.emplace(loop_, socket_.get(), [this](int) { look_again(); });
  watcher_->watch(net::FdWatcher::kReadable);
  return std::nullopt;
}

HttpDetection::Detected HttpDetection::look() {
  std::array<std::byte, net::http::kDetectBytes + 1> bytes;
  const ssize_t count = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_PEEK | MSG_DONTWAIT);
  if (count < 0)
    return errno == EAGAIN || errno == EINTR ? Detected::kNeedsMore : Detected::kOther;
  if (count == 0)
    return Detected::kOther;
  const Detected what = net::http::detect(std::span(bytes).first(static_cast<std::size_t>(count)));
  if (what != Detected::kNeedsMore)
    return what;
  if (count < wanted_bytes_) {  // woken with nothing new
    if (has_ended(socket_.get()))
      return Detected::kOther;
    // A socket of a family that knows no low-water mark.
    watcher_->watch(net::FdWatcher::kNone);
    pause_.emplace(loop_);
    pause_->start(kPause, [this] { watcher_->watch(net::FdWatcher::kReadable); });
    return Detected::kNeedsMore;
  }
  wanted_bytes_ = static_cast<int>(count) + 1;
  wake_from(socket_.get(), wanted_bytes_);
  return Detected::kNeedsMore;
}

void HttpDetection::look_again() {
  if (const Detected what = look(); what != Detected::kNeedsMore)
    finish(what);
}

void HttpDetection::finish(Detected what) {
  watcher_.reset();
  pause_.reset();
  deadline_.reset();
  if (wanted_bytes_ > 1)
    wake_from(socket_.get(), 1);
  Done done = std::move(done_);
  done(std::move(socket_), what);
}

}  // namespace mirrord::agent
