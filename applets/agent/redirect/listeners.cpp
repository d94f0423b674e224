// applets/agent/redirect/listeners.cpp — opens the two listeners and accepts from them.
#include "applets/agent/redirect/listeners.h"

#include <netinet/in.h>

#include <cerrno>
#include <string>
#include <utility>

#include "net/address.h"

namespace mirrord::agent {
namespace {

constexpr int kBacklog = 4096;
constexpr int kAcceptsPerEvent = 64;
constexpr std::chrono::milliseconds kPauseWithoutDescriptors{100};

Result<Fd> listen_anywhere(int family) {
  const std::string tried = family == AF_INET6 ? "listen for redirected IPv6 connections"
                                               : "listen for redirected connections";
  Fd socket(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket)
    return fail_system(tried, errno);
  const int on = 1;
  if (family == AF_INET6)
    ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  sockaddr_storage any{};
  any.ss_family = static_cast<sa_family_t>(family);
  const socklen_t size = family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&any), size) != 0 ||
      ::listen(socket.get(), kBacklog) != 0)
    return fail_system(tried, errno);
  return socket;
}

}  // namespace

RedirectListeners::RedirectListeners(net::Loop& loop, Accepted accepted)
    : loop_(loop), accepted_(std::move(accepted)), pause_(loop) {}

RedirectListeners::~RedirectListeners() {
  *alive_ = false;
}

Status RedirectListeners::open() {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    auto listener = listen_anywhere(family == Family::kIpv4 ? AF_INET : AF_INET6);
    if (!listener) {
      if (family == Family::kIpv6 &&
          (listener.error().sys == EAFNOSUPPORT || listener.error().sys == EADDRNOTAVAIL))
        continue;
      return std::unexpected(std::move(listener.error()));
    }
    listeners_[index(family)] = std::move(*listener);
    auto& watcher = watchers_[index(family)];
    watcher = std::make_unique<net::FdWatcher>(loop_, fd(family),
                                               [this, family](int) { accept_from(family); });
    watcher->watch(net::FdWatcher::kReadable);
  }
  return {};
}

std::uint16_t RedirectListeners::port(Family family) const {
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  const bool is_known = ::getsockname(fd(family), reinterpret_cast<sockaddr*>(&own), &size) == 0;
  const auto endpoint = is_known ? net::Endpoint::from_sockaddr(own) : std::nullopt;
  return endpoint ? endpoint->port : 0;
}

void RedirectListeners::accept_from(Family family) {
  const std::shared_ptr<bool> alive = alive_;
  for (int i = 0; i < kAcceptsPerEvent && *alive; ++i) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    Fd socket(::accept4(fd(family), reinterpret_cast<sockaddr*>(&peer), &size,
                        SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        pause();
      return;
    }
    accepted_(std::move(socket), peer);
  }
}

// Connections stay in the backlog meanwhile; without the pause the loop would spin.
void RedirectListeners::pause() {
  const auto watch_all = [this](int events) {
    for (const auto& watcher : watchers_)
      if (watcher)
        watcher->watch(events);
  };
  watch_all(net::FdWatcher::kNone);
  pause_.start(kPauseWithoutDescriptors, [watch_all] { watch_all(net::FdWatcher::kReadable); });
}

}  // namespace mirrord::agent
