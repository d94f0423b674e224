// applets/agent/outgoing_connect.cpp — non-blocking connects to IP and UNIX addresses.
#include "applets/agent/outgoing_connect.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

#include "net/address.h"
#include "proto/errors.h"

namespace mirrord::agent {

namespace {

// A UNIX listener whose backlog is full says EAGAIN, and nothing announces that it has room again.
constexpr std::chrono::milliseconds kRetryPause{10};

proto::ResponseError io_error(proto::ErrorKindInternal kind) {
  return proto::ResponseError::make<"RemoteIO">(std::nullopt, std::move(kind));
}

proto::SocketAddress to_wire(const net::Endpoint& endpoint) {
  proto::SockAddr address;
  address.ip.is_v6 = endpoint.ip.is_v6;
  address.ip.octets = endpoint.ip.bytes;
  address.port = endpoint.port;
  return proto::SocketAddress::make<"Ip">(address);
}

using NameFunction = int (*)(int, sockaddr*, socklen_t*);

// What getpeername or getsockname says; `otherwise` for sockets without an IP address.
proto::SocketAddress address_of(int fd, NameFunction name, proto::SocketAddress otherwise) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (name(fd, reinterpret_cast<sockaddr*>(&storage), &length) == 0) {
    if (const auto endpoint = net::Endpoint::from_sockaddr(storage)) {
      return to_wire(*endpoint);
    }
  }
  return otherwise;
}

}  // namespace

Connector::Connector(net::Loop& loop, const Target& target, SocketKind kind,
                     proto::SocketAddress remote)
    : loop_(loop), target_(target), kind_(kind), remote_(std::move(remote)) {}

std::optional<Connector::Outcome> Connector::start(std::move_only_function<void(Outcome)> done) {
  const bool is_ip = remote_.is<"Ip">();
  const bool is_unnamed = !is_ip && remote_.get<"Unix">().is<"Unnamed">();
  if (is_unnamed || (kind_ == SocketKind::kUdp && !is_ip) ||
      (kind_ == SocketKind::kSeqpacket && is_ip)) {
    return std::unexpected(io_error(proto::ErrorKindInternal::make<"Other">()));
  }
  int error_number = 0;
  if (!open_socket(error_number)) {
    return std::unexpected(proto::from_errno(error_number));
  }
  if (auto outcome = try_once()) {
    return outcome;
  }
  done_ = std::move(done);
  wait();
  return std::nullopt;
}

bool Connector::open_socket(int& error_number) {
  int family = AF_UNIX;
  if (const proto::SockAddr* ip = remote_.get_if<"Ip">()) {
    const net::Endpoint endpoint{{ip->ip.is_v6, ip->ip.octets}, ip->port};
    address_length_ = endpoint.to_sockaddr(address_);
    family = endpoint.ip.family();
  } else if (!fill_unix_address(remote_.get<"Unix">(), error_number)) {
    return false;
  }
  const int type = kind_ == SocketKind::kTcp   ? SOCK_STREAM
                   : kind_ == SocketKind::kUdp ? SOCK_DGRAM
                                               : SOCK_SEQPACKET;
  socket_ = Fd(::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  error_number = errno;
  return socket_.is_open();
}

bool Connector::fill_unix_address(const proto::UnixAddr& address, int& error_number) {
  auto* un = reinterpret_cast<sockaddr_un*>(&address_);
  un->sun_family = AF_UNIX;
  if (const proto::Bytes* name = address.get_if<"Abstract">()) {
    if (name->size() >= sizeof un->sun_path) {
      error_number = EINVAL;
      return false;
    }
    std::ranges::copy(name->span(), reinterpret_cast<std::byte*>(un->sun_path + 1));
    address_length_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name->size());
    return true;
  }
  // The kernel would look the path up in this process's root: open it in the target's, and connect
  // to the open file.
  place_ = open_in_root(target_, address.get<"Pathname">().value.c_str(), O_PATH | O_CLOEXEC);
  if (!place_) {
    error_number = errno;
    return false;
  }
  const std::string path = "/proc/self/fd/" + std::to_string(place_.get());
  std::memcpy(un->sun_path, path.c_str(), path.size() + 1);
  address_length_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return true;
}

std::optional<Connector::Outcome> Connector::try_once() {
  const auto* address = reinterpret_cast<const sockaddr*>(&address_);
  // On loopback the handshake is over when connect returns, but it says so only when asked again.
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (::connect(socket_.get(), address, address_length_) == 0) {
      return succeed();
    }
    if (errno != EINPROGRESS && errno != EINTR) {
      break;
    }
  }
  if (errno == EISCONN) {
    return succeed();
  }
  if (errno == EINPROGRESS || errno == EALREADY || errno == EINTR || errno == EAGAIN) {
    return std::nullopt;
  }
  return std::unexpected(proto::from_errno(errno));
}

Connector::Outcome Connector::succeed() {
  Connected connected;
  const int fd = socket_.get();
  const auto unnamed = proto::SocketAddress::make<"Unix">(proto::UnixAddr::make<"Unnamed">());
  connected.local = address_of(fd, ::getsockname, unnamed);
  connected.remote = remote_;
  if (const proto::SockAddr* ip = remote_.get_if<"Ip">();
      ip != nullptr && (ip->port == 0 || ip->ip.octets == proto::Ip().octets)) {
    connected.remote = address_of(fd, ::getpeername, remote_);  // 0.0.0.0 stands for loopback
  }
  watcher_.reset();
  connected.socket = std::move(socket_);
  return connected;
}

void Connector::wait() {
  deadline_ = std::make_unique<net::Timer>(loop_);
  deadline_->start(kTimeout, [this] {
    finish(std::unexpected(io_error(proto::ErrorKindInternal::make<"TimedOut">())));
  });
  const bool is_backlog_full = remote_.is<"Unix">();
  if (is_backlog_full) {
    retry_ = std::make_unique<net::Timer>(loop_);
    retry_->start_repeating(kRetryPause, [this] {
      if (auto outcome = try_once()) {
        finish(std::move(*outcome));
      }
    });
    return;
  }
  watcher_ = std::make_unique<net::FdWatcher>(loop_, socket_.get(), [this](int) {
    int error_number = 0;
    socklen_t length = sizeof error_number;
    ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error_number, &length);
    if (error_number != 0) {
      finish(std::unexpected(proto::from_errno(error_number)));
    } else if (auto outcome = try_once()) {
      finish(std::move(*outcome));
    }
  });
  watcher_->watch(net::FdWatcher::kWritable);
}

void Connector::finish(Outcome outcome) {
  watcher_.reset();
  deadline_.reset();
  retry_.reset();
  auto done = std::move(done_);
  done(std::move(outcome));
}

}  // namespace mirrord::agent
