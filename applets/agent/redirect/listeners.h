// applets/agent/redirect/listeners.h — where redirected connections arrive: a listener for each family.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <utility>

#include "net/error.h"
#include "net/listener.h"
#include "net/loop.h"

namespace mirrord::agent {

enum class Family : std::uint8_t { kIpv4, kIpv6 };

class RedirectListeners {
 public:
  RedirectListeners(net::Loop& loop, net::Listener::Accepted accepted)
      : loop_(loop), accepted_(std::move(accepted)) {}

  // At any address, each at a port of its own. A machine without IPv6 has no second one.
  Status open();
  // -1: there is none.
  [[nodiscard]] int fd(Family family) const;
  [[nodiscard]] std::uint16_t port(Family family) const;

 private:
  net::Loop& loop_;
  net::Listener::Accepted accepted_;
  std::array<std::unique_ptr<net::Listener>, 2> listeners_;
};

}  // namespace mirrord::agent
