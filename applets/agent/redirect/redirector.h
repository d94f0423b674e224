// applets/agent/redirect/redirector.h — takes new TCP connections away from the target's ports.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "net/error.h"
#include "net/fd.h"
#include "net/loop.h"

namespace mirrord::agent {

// A connection that was on its way to the target.
struct Redirected {
  Fd socket;                     // connected, non-blocking, close-on-exec
  sockaddr_storage peer;         // who connected
  sockaddr_storage destination;  // what it connected to, as the peer sees it
};

// One per agent, in the target's network namespace, shared by all clients; used on the loop's
// thread. Destroying it removes everything it has put into the kernel.
class Redirector {
 public:
  using Done = std::move_only_function<void(Status)>;
  using Accepted = std::move_only_function<void(Redirected)>;

  virtual ~Redirector() = default;

  // From `done` on every new connection to `port`, IPv4 and IPv6, from other hosts and from inside
  // the target, is given to the handler instead. `done` is never called from inside the call.
  virtual void add_port(std::uint16_t port, Done done) = 0;
  // New connections reach the target again. Accepted ones stay.
  virtual void remove_port(std::uint16_t port, Done done) = 0;

  // To be called on a socket before it connects to the target's own port, or the connection would
  // come back here. May bind it. Undone when the socket closes.
  [[nodiscard]] virtual Status exempt(int socket, const sockaddr_storage& destination) = 0;

  // "socket look-up", "nftables", "iptables": for messages and tests.
  [[nodiscard]] virtual std::string_view name() const = 0;
};

}  // namespace mirrord::agent
