// applets/agent/client_connection.h — one connection of the target, relayed for a client.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "applets/agent/outgoing_connect.h"
#include "net/error.h"
#include "net/packet_socket.h"
#include "net/stream.h"
#include "proto/basic.h"
#include "proto/receive_buffer.h"

namespace mirrord::agent {

class ClientConnection;

// Who owns connections and speaks to the client. Every call may destroy the connection.
class ConnectionOwner {
 public:
  virtual ~ConnectionOwner() = default;
  virtual net::Loop& loop() = 0;
  // Space that all connections receive into, one at a time.
  virtual proto::ReceiveBuffer& receive_buffer() = 0;
  // The first `count` bytes of that space.
  virtual void received(ClientConnection& connection, std::size_t count) = 0;
  virtual void peer_ended(ClientConnection& connection) = 0;
  virtual void failed(ClientConnection& connection, const Error& error) = 0;
  virtual void drained(ClientConnection& connection) = 0;
  virtual void sent_end(ClientConnection& connection) = 0;  // all written, and the end too
};

class ClientConnection {
 public:
  ClientConnection(ConnectionOwner& owner, SocketKind kind, proto::ConnectionId id, Fd socket,
                   std::string peer_name);
  ClientConnection(const ClientConnection&) = delete;
  ClientConnection& operator=(const ClientConnection&) = delete;

  [[nodiscard]] SocketKind kind() const { return kind_; }
  [[nodiscard]] proto::ConnectionId id() const { return id_; }
  [[nodiscard]] const std::string& peer_name() const { return peer_name_; }

  void start();
  void write(proto::Bytes&& bytes);
  void finish_writing();
  // Tries to write everything at once. May call the owner.
  void flush();
  void reset_on_close();

  // Reading stops while any reason holds.
  enum Hold : unsigned { kCongestion = 1, kClientPaused = 2 };
  void hold_reading(Hold reason);
  void release_reading(Hold reason);

  [[nodiscard]] std::size_t queued_bytes() const;
  [[nodiscard]] bool is_above_high_mark() const { return queued_bytes() > net::Stream::kHighMark; }
  // Milliseconds for which bytes have been waiting without any of them being taken.
  std::uint64_t stalled_ms(std::uint64_t now_ms);

  bool peer_has_ended = false;
  bool client_has_ended = false;  // the client will send no more
  bool is_end_sent = false;       // … and the peer knows
  bool is_abandoned = false;      // the client has closed it: only what is queued still leaves
  bool client_is_paused = false;  // it was asked to send no more for now
  std::uint64_t abandoned_at_ms = 0;

 private:
  ConnectionOwner& owner_;
  SocketKind kind_;
  proto::ConnectionId id_;
  std::string peer_name_;
  std::unique_ptr<net::Stream> stream_;  // one of the two
  std::unique_ptr<net::PacketSocket> packets_;
  unsigned holds_ = 0;
  std::uint64_t accepted_bytes_ = 0;
  std::uint64_t seen_written_bytes_ = 0;
  std::uint64_t progress_at_ms_ = 0;
};

}  // namespace mirrord::agent
