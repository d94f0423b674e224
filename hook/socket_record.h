// hook/socket_record.h — what the hook knows of one socket (shared by its duplicates).
#pragma once

#include "hook/libc.h"

namespace mirrord::hook {

// A peer that a datagram socket sends to without being connected, and where its packets go.
struct Association {
  std::atomic<uint32_t> is_ready;
  local::Address remote;
  local::Address relay;
};

// One page of associations; pages are chained and released with the socket.
struct AssociationPage {
  static constexpr uint32_t kCapacity = 16;
  AssociationPage* next;
  std::atomic<uint32_t> used;
  Association items[kCapacity];
};
static_assert(sizeof(AssociationPage) <= 4096);

struct SocketRecord {
  local::Transport transport;
  uint16_t listening_port;  // not 0: told to the intproxy, to be taken back at the end
  bool is_connected;        // `remote`, `relay` and `connection` hold
  bool has_come_along;      // the intproxy has the socket too
  bool is_bound;            // `requested` holds: the program named a port
  bool is_elsewhere;        // … and has another address than that
  bool gets_incoming;       // the intproxy was told of the listener with this inode
  uint64_t inode;
  uint64_t connection;
  local::Address remote;     // what the program connected to
  local::Address relay;      // what its socket is really connected to
  local::Address local;      // the agent's address; family 0: not known yet
  local::Address requested;  // what the program has bound it to
  std::atomic<AssociationPage*> associations;
};

// The intproxy closes its copy of the socket; whether it had one.
bool release_from_intproxy(SocketRecord& socket);

// This process has no more to do with a listener: the intproxy looks whether anybody has.
void leave_listener(SocketRecord& socket);

// The last descriptor of the socket is closed.
void socket_record_closed(SocketRecord& socket);

// The relay address of a peer, or nullptr.
const local::Address* find_relay(const SocketRecord& socket, const local::Address& remote);
// The peer whose packets come from this relay address, or nullptr.
const local::Address* find_remote(const SocketRecord& socket, const local::Address& relay);
// False: no memory.
bool add_association(SocketRecord& socket, const local::Address& remote,
                     const local::Address& relay);

}  // namespace mirrord::hook
