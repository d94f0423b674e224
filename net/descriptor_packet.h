// net/descriptor_packet.h — packets on a UNIX socket that may carry an open descriptor (unix(7), SCM_RIGHTS).
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>

#include "net/error.h"
#include "net/fd.h"

namespace mirrord::net {

struct DescriptorPacket {
  std::size_t size = 0;  // bytes at the begin of the buffer; 0: the peer has ended
  Fd descriptor;         // none, if there was none
};

// Sends one packet of all the parts; `descriptor` -1: without. Never blocks: an error of the number EAGAIN for a peer that does
// not read.
Status send_descriptor_packet(int socket, std::span<const iovec> parts, int descriptor);

// Never blocks: an error of the number EAGAIN when nothing is there. A packet longer than `buffer` is an error.
Result<DescriptorPacket> receive_descriptor_packet(int socket, std::span<std::byte> buffer);

}  // namespace mirrord::net
