// applets/agent/incoming/detection.cpp — MSG_PEEK until the first bytes decide.
#include "applets/agent/incoming/detection.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

namespace mirrord::agent {
namespace {

void wake_from(int socket, int bytes) {
  ::setsockopt(socket, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes);
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
  // Woken with nothing new: the client has ended its half.
  if (count < wanted_bytes_)
    return Detected::kOther;
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
  deadline_.reset();
  if (wanted_bytes_ > 1)
    wake_from(socket_.get(), 1);
  Done done = std::move(done_);
  done(std::move(socket_), what);
}

}  // namespace mirrord::agent
