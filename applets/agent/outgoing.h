// applets/agent/outgoing.h — connections that a client opens from the target: TCP, UDP and UNIX.
//
// Memory and fairness. Towards the client: reading of all remote sockets stops while the client's
// queue is above its mark. Towards remote sockets: what the client sends is queued per connection.
// A client of ours is asked to pause a connection above its mark (proto/hints.h), so that others
// are not touched. The wire has no such word for other clients: their data is queued up to
// kTotalCap for all connections together; above, nothing is read from that client until slow peers
// have taken half of it or were given up after kStallLimit.
#pragma once

#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "applets/agent/client.h"
#include "applets/agent/outgoing_connect.h"
#include "applets/agent/outgoing_connection.h"
#include "proto/outgoing.h"

namespace mirrord::agent {

class Outgoing final : public OutgoingOwner {
 public:
  explicit Outgoing(ClientLink& link);
  ~Outgoing() override;
  Outgoing(const Outgoing&) = delete;
  Outgoing& operator=(const Outgoing&) = delete;

  void handle(proto::LayerTcpOutgoing&& message);
  void handle(proto::LayerUdpOutgoing&& message);
  void handle(proto::LayerSeqpacket&& message);
  void on_drained();

  [[nodiscard]] std::size_t connection_count() const;

  static constexpr std::size_t kTotalCap = 48 << 20;
  static constexpr std::uint64_t kStallLimitMs = 30'000;
  static constexpr std::uint64_t kLingerMs = 10'000;

 private:
  // A legacy connect: answered in the order of the requests.
  struct InOrder {
    std::optional<Connector::Outcome> outcome;
  };
  struct Table {
    proto::ConnectionId next_id = 0;
    std::unordered_map<proto::ConnectionId, std::unique_ptr<OutgoingConnection>> connections;
    std::deque<std::shared_ptr<InOrder>> in_order;
  };

  net::Loop& loop() override { return link_.loop(); }
  proto::ReceiveBuffer& receive_buffer() override { return buffer_; }
  void received(OutgoingConnection& connection, std::size_t count) override;
  void peer_ended(OutgoingConnection& connection) override;
  void failed(OutgoingConnection& connection, const Error& error) override;
  void drained(OutgoingConnection& connection) override;
  void sent_end(OutgoingConnection& connection) override;

  Table& table(OutgoingKind kind) { return tables_[static_cast<std::size_t>(kind)]; }
  OutgoingConnection* find(OutgoingKind kind, proto::ConnectionId id);
  void connect(OutgoingKind kind, proto::SocketAddress&& remote,
               std::move_only_function<void(Connector::Outcome)> done);
  void connect_in_order(OutgoingKind kind, proto::LayerConnect&& request);
  void connect_by_uid(OutgoingKind kind, proto::LayerConnectV2&& request);
  void answer_in_order(OutgoingKind kind);
  proto::Res<proto::DaemonConnect> adopt(OutgoingKind kind, Connector::Outcome&& outcome);
  void write(OutgoingKind kind, proto::LayerWrite&& request);
  void close(OutgoingKind kind, proto::ConnectionId id);
  void abandon(OutgoingConnection& connection);
  void drop(OutgoingConnection& connection);
  void drop_if_done(OutgoingConnection& connection);
  void send_data(OutgoingKind kind, proto::ConnectionId id, proto::Bytes&& bytes);
  void send_close(OutgoingKind kind, proto::ConnectionId id);
  void limit_memory();
  std::size_t total_queued() const;
  void start_watch();
  void watch_progress();

  ClientLink& link_;
  Table tables_[3];
  std::unordered_map<Connector*, std::unique_ptr<Connector>> connecting_;
  // Closed by the client while bytes for the peer were still queued.
  std::unordered_map<OutgoingConnection*, std::unique_ptr<OutgoingConnection>> abandoned_;
  std::vector<std::pair<OutgoingKind, proto::ConnectionId>> waiting_for_client_;
  proto::ReceiveBuffer buffer_;
  std::size_t queued_estimate_ = 0;  // never below the truth
  bool is_holding_input_ = false;
  bool is_watching_ = false;
  net::Timer watch_timer_;
};

}  // namespace mirrord::agent
