// applets/agent/connection_table.h — the open connections of one part of a client's session: their
// data both ways, their ends, their memory.
//
// Memory and fairness. Towards the client: reading of all sockets stops while the client's queue is
// above its mark. Towards the sockets: what the client sends is queued per connection. A client of
// ours is asked to pause a connection above its mark (proto/hints.h), so that others are not
// touched. The wire has no such word for other clients: their data is queued up to kTotalCap for all
// connections together; above, nothing is read from that client until slow peers have taken half of
// it or were given up after kStallLimit.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "applets/agent/client.h"
#include "applets/agent/client_connection.h"
#include "proto/hints.h"

namespace mirrord::agent {

class ConnectionTable final : public ConnectionOwner {
 public:
  // How the part's messages say it to the client.
  struct Words {
    std::function<void(SocketKind, proto::ConnectionId, proto::Bytes&&)> data;  // empty: the end
    std::function<void(SocketKind, proto::ConnectionId)> close;  // the id may carry a hint
    // The peer has failed; `close` follows.
    std::function<void(const ClientConnection&, const Error&)> failed;
  };

  ConnectionTable(ClientLink& link, Words words);
  ~ConnectionTable() override;
  ConnectionTable(const ConnectionTable&) = delete;
  ConnectionTable& operator=(const ConnectionTable&) = delete;

  // Makes a connection of a connected socket and begins to read from it. The id is new.
  ClientConnection& adopt(SocketKind kind, proto::ConnectionId id, Fd socket,
                          std::string peer_name);

  // ---- what the client says. Unknown ids are ignored, as the protocol wants it.

  // Empty bytes: the client will send no more. (An empty datagram carries and ends nothing.)
  void write(SocketKind kind, proto::ConnectionId id, proto::Bytes&& bytes);
  // Carries out a hint. True when it was none, so that the connection is to be closed.
  bool take_hint(SocketKind kind, proto::ConnectionId id);
  // The client wants no more of it, but what it has sent before goes out.
  void abandon(SocketKind kind, proto::ConnectionId id);
  void reset(SocketKind kind, proto::ConnectionId id);

  void on_drained();  // the client takes data again

  [[nodiscard]] ClientConnection* find(SocketKind kind, proto::ConnectionId id);
  [[nodiscard]] std::size_t connection_count() const;
  // Resets all connections, the abandoned ones too.
  void reset_all();

  static constexpr std::size_t kTotalCap = 48 << 20;
  static constexpr std::uint64_t kStallLimitMs = 30'000;
  static constexpr std::uint64_t kLingerMs = 10'000;

 private:
  using Connections = std::unordered_map<proto::ConnectionId, std::unique_ptr<ClientConnection>>;

  net::Loop& loop() override { return link_.loop(); }
  proto::ReceiveBuffer& receive_buffer() override { return buffer_; }
  void received(ClientConnection& connection, std::size_t count) override;
  void peer_ended(ClientConnection& connection) override;
  void failed(ClientConnection& connection, const Error& error) override;
  void drained(ClientConnection& connection) override;
  void sent_end(ClientConnection& connection) override;

  Connections& table(SocketKind kind) { return tables_[static_cast<std::size_t>(kind)]; }
  void abandon(ClientConnection& connection);
  void drop(ClientConnection& connection);
  void drop_if_done(ClientConnection& connection);
  void limit_memory();
  std::size_t total_queued() const;
  void start_watch();
  void watch_progress();

  ClientLink& link_;
  Words words_;
  Connections tables_[3];
  // Closed by the client while bytes for the peer were still queued.
  std::unordered_map<ClientConnection*, std::unique_ptr<ClientConnection>> abandoned_;
  std::vector<std::pair<SocketKind, proto::ConnectionId>> waiting_for_client_;
  proto::ReceiveBuffer buffer_;
  std::size_t queued_estimate_ = 0;  // never below the truth
  bool is_holding_input_ = false;
  bool is_watching_ = false;
  net::Timer watch_timer_;
};

}  // namespace mirrord::agent
