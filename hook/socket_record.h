// hook/socket_record.h — what the hook knows of one socket (shared by its duplicates).
#pragma once

#include "hook/libc.h"

namespace mirrord::hook {

struct SocketRecord {
  uint32_t state;
};

// The last descriptor of the socket is closed.
void socket_record_closed(SocketRecord& socket);

}  // namespace mirrord::hook
