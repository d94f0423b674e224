// hook/incoming.h — what the hook knows of incoming traffic: which ports are taken, who is behind a
// connection, and where a listener of the session really is.
#pragma once

#include "hook/session.h"

namespace mirrord::hook {

// Whether listeners of this session get traffic of the target.
inline bool has_incoming() {
  return is_active() && has_flag(local::kIncoming);
}

// Whether a listener that the program has bound to `requested` gets the traffic of the target's port.
bool takes_port(const local::Address& requested);

// A program may give its rights up between listen and accept, as servers that are started by root do:
// then the table must be there already. Children have it too.
void map_incoming_table();

// listen_ports: the port to bind in place of `port`, or 0.
uint16_t fixed_port(uint16_t port);

// A connection as the remote peer sees it.
struct RealAddresses {
  local::Address remote;
  local::Address own;
};

// `peer` is the kernel's address of a connection's other end. False: it is what it seems to be.
bool find_real_addresses(const local::Address& peer, RealAddresses* out);

// The listener of the session that a connection to `wanted` reaches, or that is in the way of another
// one there. Where it listens in `*actual`.
bool find_listener(const local::Address& wanted, local::Address* actual);

// What the program calls the listener at `actual`; false: by that address, or it is none.
bool find_requested(const local::Address& actual, local::Address* requested);

// Whether sockets bound to these two would get the same connections.
bool overlaps(const local::Address& one, const local::Address& other);

}  // namespace mirrord::hook
