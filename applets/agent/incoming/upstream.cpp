// applets/agent/incoming/upstream.cpp — non-blocking connects to the target's own ports.
#include "applets/agent/incoming/upstream.h"

#include <cerrno>
#include <utility>

namespace mirrord::agent {
namespace {

net::IpAddress loopback(bool is_v6) {
  return is_v6 ? net::IpAddress::v6_loopback() : net::IpAddress::v4(127, 0, 0, 1);
}

}  // namespace

std::optional<Result<Fd>> UpstreamConnect::start(Done done) {
  auto outcome = attempt(destination_);
  if (outcome)
    return outcome;
  done_ = std::move(done);
  deadline_ = std::make_unique<net::Timer>(loop_);
  deadline_->start(kTimeout, [this] {
    finish(fail_system("connect to the target at " + tried_.to_string(), ETIMEDOUT));
  });
  return std::nullopt;
}

std::optional<Result<Fd>> UpstreamConnect::attempt(const net::Endpoint& to) {
  tried_ = to;
  sockaddr_storage storage{};
  const socklen_t length = to.to_sockaddr(storage);
  watcher_.reset();
  socket_ = Fd(::socket(to.ip.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket_)
    return fail_system("make a socket", errno);
  if (auto exempted = upstream_.redirector.exempt(socket_.get(), storage); !exempted)
    return std::unexpected(std::move(exempted.error()));
  const auto* address = reinterpret_cast<const sockaddr*>(&storage);
  int error_number = ::connect(socket_.get(), address, length) == 0 ? 0 : errno;
  // On loopback the handshake is over when connect returns, but it says so only when asked again.
  if (error_number == EINPROGRESS)
    error_number = ::connect(socket_.get(), address, length) == 0 ? 0 : errno;
  if (error_number == 0 || error_number == EISCONN)
    return connected();
  if (error_number != EINPROGRESS && error_number != EALREADY && error_number != EINTR)
    return failed(error_number);
  watcher_ = std::make_unique<net::FdWatcher>(loop_, socket_.get(), [this](int) { ready(); });
  watcher_->watch(net::FdWatcher::kWritable);
  return std::nullopt;
}

std::optional<Result<Fd>> UpstreamConnect::failed(int error_number) {
  const net::Endpoint other{loopback(destination_.ip.is_v6), destination_.port};
  if (tried_ != other && (error_number == ECONNREFUSED || error_number == EHOSTUNREACH ||
                          error_number == ENETUNREACH || error_number == EADDRNOTAVAIL))
    return attempt(other);
  return fail_system("connect to the target at " + tried_.to_string(), error_number);
}

void UpstreamConnect::ready() {
  int error_number = 0;
  socklen_t size = sizeof error_number;
  ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error_number, &size);
  watcher_.reset();
  if (error_number == 0)
    return finish(connected());
  if (auto outcome = failed(error_number))
    finish(std::move(*outcome));
}

Result<Fd> UpstreamConnect::connected() {
  return upstream_.secure ? upstream_.secure(std::move(socket_)) : Result<Fd>(std::move(socket_));
}

void UpstreamConnect::finish(Result<Fd> outcome) {
  watcher_.reset();
  deadline_.reset();
  Done done = std::move(done_);
  done(std::move(outcome));
}

}  // namespace mirrord::agent
