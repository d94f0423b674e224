// applets/intproxy/stream_packet.h — what stream_server.h and stream_taker.h say to each other: packets on a UNIX
// socket of a kind and texts, the stream itself as an open descriptor beside them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "net/error.h"
#include "net/fd.h"

namespace mirrord::intproxy {

enum class StreamPacketKind : char {
  kHello =
      'H',  // server: whether streams can be had again, whether of other agents, for how many ms to try
  kReopen = 'R',    // client: within how many ms
  kStream = 'S',    // server, with the descriptor: the peer's name, a notice
  kFailure = 'E',   // server: an Error
  kAccepted = 'A',  // client
  kLeave = 'L',     // server: why the stream is given up
};

struct StreamPacket {
  StreamPacketKind kind{};
  std::vector<std::string> texts;
  Fd descriptor;
};

// Never block. The error of receive has the number EAGAIN when nothing is there, the code kDisconnected when
// the other side is gone.
Status send_stream_packet(int socket, StreamPacketKind kind, const std::vector<std::string>& texts,
                          int descriptor = -1);
Result<StreamPacket> receive_stream_packet(int socket);

std::vector<std::string> texts_of(const Error& error);
Error error_of(const std::vector<std::string>& texts);

// Of a decimal number; 0 for anything else.
long number_of(std::string_view text);

}  // namespace mirrord::intproxy
