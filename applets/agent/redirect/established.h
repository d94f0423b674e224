// applets/agent/redirect/established.h — connections that a port of the target had before it was redirected.
#pragma once

#include <linux/inet_diag.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "net/error.h"

namespace mirrord::agent {

class EstablishedConnections {
 public:
  // Those to local port `port` of the calling thread's network namespace, IPv4 and IPv6, at most kMax
  // (sock_diag(7)). Nothing blocks.
  [[nodiscard]] static Result<EstablishedConnections> find(std::uint16_t port);

  // Ends them (SOCK_DESTROY, Linux 4.9): the peers get a reset and connect anew, the target an error.
  // Who has ended by itself meanwhile is no failure. Needs CAP_NET_ADMIN; returns how many it ended.
  [[nodiscard]] Result<std::size_t> cut() const;

  static constexpr std::size_t kMax = 65'536;

 private:
  struct Connection {
    std::uint8_t family;
    inet_diag_sockid
        id;  // with the kernel's cookie: never a later connection of the same addresses
  };
  std::vector<Connection> connections_;
};

}  // namespace mirrord::agent
