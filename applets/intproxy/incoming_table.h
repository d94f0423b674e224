// applets/intproxy/incoming_table.h — the shared table of incoming connections and listeners
// (proto/local.h), and sockets that connect to the program under an entry of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "net/address.h"
#include "net/error.h"
#include "net/fd.h"
#include "proto/local.h"

namespace mirrord::intproxy {

// Who connects, and what to, as the remote peer sees it.
struct IncomingOrigin {
  net::Endpoint remote;
  net::Endpoint local;
};

// The program has not accepted yet, and its queue is full.
[[nodiscard]] bool is_connecting(int socket);

class IncomingTable {
 public:
  // Makes the file in the session's directory. `source`: Settings::incoming_source.
  static Result<std::unique_ptr<IncomingTable>> create(const std::string& directory,
                                                       net::IpAddress source,
                                                       bool is_for_all_users);
  ~IncomingTable();
  IncomingTable(const IncomingTable&) = delete;
  IncomingTable& operator=(const IncomingTable&) = delete;

  // A socket on its way to a listener of the program, which finds `origin` when it accepts: published
  // before the connect. Non-blocking; whether somebody listens is known when this returns.
  Result<Fd> connect(const net::Endpoint& listener, const IncomingOrigin& origin);
  // Before the socket is closed.
  void forget(int socket);

  // A listener of the session; its index, or kIncomingListeners when the table is full.
  std::uint32_t add_listener(const net::Endpoint& requested, const net::Endpoint& actual);
  void remove_listener(std::uint32_t index);

 private:
  IncomingTable(local::IncomingTable* table, net::IpAddress source);
  Result<Fd> bind(const net::IpAddress& ip, std::uint16_t& port);
  Result<Fd> connect_to(const net::Endpoint& target, const IncomingOrigin& origin);

  local::IncomingTable* table_;
  net::IpAddress source_;
  std::uint16_t next_port_;  // in turn: a number comes back as late as possible
};

}  // namespace mirrord::intproxy
