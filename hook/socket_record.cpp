// hook/socket_record.cpp — the end of a socket that the hook knows.
#include "hook/socket_record.h"

namespace mirrord::hook {

void socket_record_closed(SocketRecord& socket) {
  socket.state = 0;
}

}  // namespace mirrord::hook
