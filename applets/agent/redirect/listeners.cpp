// applets/agent/redirect/listeners.cpp — opens the two listeners.
#include "applets/agent/redirect/listeners.h"

#include <cerrno>
#include <optional>
#include <utility>

#include "net/address.h"

namespace mirrord::agent {
namespace {

constexpr int kBacklog = 4096;

constexpr std::size_t index(Family family) {
  return static_cast<std::size_t>(family);
}

}  // namespace

Status RedirectListeners::open() {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    const net::Endpoint anywhere{net::IpAddress{family == Family::kIpv6, {}}, 0};
    auto socket = net::listen_tcp(anywhere, kBacklog, {}, net::Ipv6Listener::kIpv6Only);
    if (!socket) {
      if (family == Family::kIpv6 &&
          (socket.error().sys == EAFNOSUPPORT || socket.error().sys == EADDRNOTAVAIL))
        continue;
      return std::unexpected(std::move(socket).error());
    }
    listeners_[index(family)] = std::make_unique<net::Listener>(
        loop_, std::move(*socket), [this](Fd connection, const sockaddr_storage& peer) {
          accepted_(std::move(connection), peer);
        });
  }
  return {};
}

int RedirectListeners::fd(Family family) const {
  const auto& listener = listeners_[index(family)];
  return listener ? listener->fd() : -1;
}

std::uint16_t RedirectListeners::port(Family family) const {
  return net::local_endpoint(fd(family)).value_or(net::Endpoint()).port;
}

}  // namespace mirrord::agent
