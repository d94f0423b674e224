// applets/agent/client.h — what the parts of a client's session (files, DNS, outgoing) see of their
// client: where to send answers, how to be slowed down, and whose context they work in.
//
// A part is a plain class that takes a ClientLink& and has one `handle` function per message kind:
//
//   class Outgoing {
//    public:
//     explicit Outgoing(ClientLink& link);
//     ~Outgoing();                                // the client is gone: drop everything at once
//     void handle(proto::LayerTcpOutgoing&& message);
//     void handle(proto::LayerUdpOutgoing&& message);
//     void handle(proto::LayerSeqpacket&& message);
//     void on_drained();                          // the client takes data again: resume reading
//   };
//
// Client (session.h) owns one of each and calls them on the loop's thread.
#pragma once

#include <cstdint>
#include <string>

#include "applets/agent/target.h"
#include "net/loop.h"
#include "net/payload_pipe.h"

namespace mirrord::proto {
class Bytes;
struct DaemonMessage;
struct SemVer;
}  // namespace mirrord::proto

namespace mirrord::agent {

// Everything here is used on the loop's thread only. The link outlives the client's parts.
class ClientLink {
 public:
  virtual ~ClientLink() = default;

  virtual net::Loop& loop() = 0;
  virtual const Target& target() const = 0;

  // Queues a message. It leaves with all others at the end of the loop's present iteration; large
  // payloads are moved, not copied. Always accepted, also after the client is gone (then dropped):
  // a part that can produce without limit must look at is_congested() and stop.
  virtual void send(proto::DaemonMessage&& message) = 0;

  // The same for a message whose payload, the byte string `place` in it, lies in a pipe.
  virtual void send_piped(proto::DaemonMessage&& message, const proto::Bytes& place,
                          net::LeasedPipe payload) = 0;

  // What the client has announced; without a handshake proto::kVersionWithoutHandshake.
  [[nodiscard]] virtual const proto::SemVer& version() const = 0;

  // The client is one of ours (proto::kFlight): it understands what foreign clients do not.
  [[nodiscard]] virtual bool speaks_flight() const { return false; }

  // More bytes are queued towards the client than it takes at present. Stop reading from whatever
  // produces them; every part's on_drained() is called when there is room again.
  [[nodiscard]] virtual bool is_congested() const = 0;

  // Stops, and lets go on, the reading of messages from the client: for a part whose queues towards
  // slow peers have reached their ceiling. Counted: each hold needs its release.
  virtual void hold_input() = 0;
  virtual void release_input() = 0;

  // A text for the user. Dropped when the client has not said that it is ready for logs.
  virtual void log_warning(std::string text) = 0;
  virtual void log_error(std::string text) = 0;
  virtual void log_info(std::string text) = 0;
};

}  // namespace mirrord::agent
