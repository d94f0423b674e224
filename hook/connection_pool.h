// hook/connection_pool.h — the process's connections to the intproxy.
#pragma once

#include "hook/libc.h"

namespace mirrord::hook {

enum class ConnectionState : uint32_t { kEmpty, kIdle, kBusy };

struct Connection {
  std::atomic<ConnectionState> state;
  int fd;
  uint64_t inode;  // of the socket: the number may have been reused behind our back
};

// A connection for this thread alone, opened when none is idle. nullptr: the intproxy is gone.
Connection* acquire_connection();
void release_connection(Connection* connection);
// After an error: closes it.
void drop_connection(Connection* connection);

// One more connection that says hello, outside the pool; -ENOTCONN: the intproxy is gone or does not
// take it, another negative errno: none can be made.
int open_connection();

// Sends the first message of a new connection (ipc.cpp).
bool say_hello(int fd);

}  // namespace mirrord::hook
