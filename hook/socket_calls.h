// hook/socket_calls.h — steps that connecting and sending share.
#pragma once

#include <sys/socket.h>

#include "hook/fd_table.h"
#include "hook/net_decide.h"

namespace mirrord::hook {

// SOL_SOCKET option as an int, or -1.
int socket_option(int fd, int option);

// The decision for both transports when the socket's type does not matter yet: kLocal only if it
// is local either way, so that a bypassed call costs no system call.
bool is_local_for_all(const local::Address& remote);

// The socket's record; made when there is none. False: out of records.
Record* socket_record(int fd, local::Transport transport);

// Gives the socket a local port if it has none (the intproxy knows it by its source address) and
// returns the address its packets will come from. 0 or an errno. `*is_ours`: the port is one that
// was chosen here and now.
int bind_for_relay(int fd, local::Transport transport, const local::Address& remote,
                   local::Address* own, bool* is_ours = nullptr);

// Asks the intproxy for the decision alone. True: the original call.
bool is_bypassed_by_intproxy(local::Transport transport, const local::Address& remote);

// Has the agent connect (or prepares a datagram relay). 0 or an errno. `socket`: see kConnect.
int request_connection(local::Transport transport, bool wait, const local::Address& remote,
                       const local::Address& own, local::ConnectReply* reply, int socket = -1);

}  // namespace mirrord::hook
