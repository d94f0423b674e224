// applets/agent/redirect/listeners.h — where redirected connections arrive: a listener for each family.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>

#include "net/error.h"
#include "net/fd.h"
#include "net/loop.h"

namespace mirrord::agent {

enum class Family : std::uint8_t { kIpv4, kIpv6 };

class RedirectListeners {
 public:
  // A connection, non-blocking and close-on-exec, and who made it. May destroy the listeners.
  using Accepted = std::move_only_function<void(Fd socket, const sockaddr_storage& peer)>;

  RedirectListeners(net::Loop& loop, Accepted accepted);
  ~RedirectListeners();
  RedirectListeners(const RedirectListeners&) = delete;
  RedirectListeners& operator=(const RedirectListeners&) = delete;

  // At any address, each at a port of its own. A machine without IPv6 has no second one.
  Status open();
  // -1: there is none.
  [[nodiscard]] int fd(Family family) const { return listeners_[index(family)].get(); }
  [[nodiscard]] std::uint16_t port(Family family) const;

 private:
  static constexpr std::size_t index(Family family) { return static_cast<std::size_t>(family); }
  void accept_from(Family family);
  void pause();

  net::Loop& loop_;
  Accepted accepted_;
  std::array<Fd, 2> listeners_;
  std::array<std::unique_ptr<net::FdWatcher>, 2> watchers_;
  net::Timer pause_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace mirrord::agent
