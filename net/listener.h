// net/listener.h — listening sockets, and the connections that come to them.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "net/address.h"
#include "net/error.h"
#include "net/fd.h"
#include "net/loop.h"

namespace mirrord::net {

// What a listener at the unspecified IPv6 address takes.
enum class Ipv6Listener : std::uint8_t { kBothFamilies, kIpv6Only };

// A TCP listener; non-blocking. It gets its port even while connections of an earlier one there still
// end. `hint` is for the error.
Result<Fd> listen_tcp(const Endpoint& local, int backlog, std::string hint = {},
                      Ipv6Listener ipv6 = Ipv6Listener::kBothFamilies);

// The address that a socket has (getsockname(2)); nothing for other than IP sockets.
std::optional<Endpoint> local_endpoint(int socket);

// Accepts the connections of a listening socket of any kind. While the system has no descriptors
// for them they wait in the backlog.
class Listener {
 public:
  // A connection, non-blocking and close-on-exec, and who made it. May destroy the listener.
  using Accepted = std::move_only_function<void(Fd socket, const sockaddr_storage& peer)>;

  Listener(Loop& loop, Fd socket, Accepted accepted);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  void accept_ready();

  Fd socket_;
  Accepted accepted_;
  FdWatcher watcher_;
  Timer pause_;
  bool* is_destroyed_ = nullptr;  // while a connection is handed over
};

}  // namespace mirrord::net
