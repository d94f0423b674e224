// net/listener.cpp — opens TCP listeners; accepts a bounded number of connections at a time.
#include "net/listener.h"

#include <netinet/in.h>

#include <cerrno>
#include <chrono>
#include <utility>

namespace mirrord::net {
namespace {

constexpr int kAcceptsPerEvent = 64;  // whatever else the loop has must get its turn
constexpr std::chrono::milliseconds kPauseWithoutDescriptors{100};

bool is_shortage(int error_number) {
  return error_number == EMFILE || error_number == ENFILE || error_number == ENOBUFS ||
         error_number == ENOMEM;
}

}  // namespace

Result<Fd> listen_tcp(const Endpoint& local, int backlog, std::string hint, Ipv6Listener ipv6) {
  Fd socket(::socket(local.ip.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  const int is_v6_only = ipv6 == Ipv6Listener::kIpv6Only ? 1 : 0;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (local.ip.is_v6) {
    ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &is_v6_only, sizeof is_v6_only);
  }
  sockaddr_storage storage;
  const socklen_t length = local.to_sockaddr(storage);
  if (!socket || ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0 ||
      ::listen(socket.get(), backlog) != 0) {
    return fail_system("listen at " + local.to_string(), errno, std::move(hint));
  }
  return socket;
}

std::optional<Endpoint> local_endpoint(int socket) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &length) != 0) {
    return std::nullopt;
  }
  return Endpoint::from_sockaddr(storage);
}

Listener::Listener(Loop& loop, Fd socket, Accepted accepted)
    : socket_(std::move(socket)),
      accepted_(std::move(accepted)),
      watcher_(loop, socket_.get(), [this](int) { accept_ready(); }),
      pause_(loop) {
  watcher_.watch(FdWatcher::kReadable);
}

Listener::~Listener() {
  if (is_destroyed_ != nullptr) {
    *is_destroyed_ = true;
  }
}

void Listener::accept_ready() {
  for (int i = 0; i < kAcceptsPerEvent; ++i) {
    sockaddr_storage peer{};
    socklen_t length = sizeof peer;
    Fd connection(::accept4(socket_.get(), reinterpret_cast<sockaddr*>(&peer), &length,
                            SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!connection) {
      if (is_shortage(errno)) {
        // The connection would report itself again and again.
        watcher_.watch(FdWatcher::kNone);
        pause_.start(kPauseWithoutDescriptors, [this] { watcher_.watch(FdWatcher::kReadable); });
      }
      return;
    }
    bool is_destroyed = false;
    is_destroyed_ = &is_destroyed;
    Accepted accepted = std::move(accepted_);  // what runs must outlive the listener
    accepted(std::move(connection), peer);
    if (is_destroyed) {
      return;
    }
    accepted_ = std::move(accepted);
    is_destroyed_ = nullptr;
  }
}

}  // namespace mirrord::net
