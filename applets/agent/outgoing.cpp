// applets/agent/outgoing.cpp — the tables of connections, their messages and their memory.
#include "applets/agent/outgoing.h"

#include <chrono>
#include <string>
#include <utility>

#include "proto/daemon_message.h"
#include "proto/hints.h"

namespace mirrord::agent {

namespace {

// This much goes out at once, while it is in the processor's cache, not with the rest of a batch.
constexpr std::size_t kFlushAt = 256 * 1024;
constexpr std::chrono::milliseconds kWatchPeriod{1000};
constexpr std::chrono::milliseconds kHeldWatchPeriod{10};

std::string name_of(const proto::SocketAddress& address) {
  if (const proto::SockAddr* ip = address.get_if<"Ip">()) {
    return ip->to_string();
  }
  const proto::UnixAddr& unix_address = address.get<"Unix">();
  if (const proto::Path* path = unix_address.get_if<"Pathname">()) {
    return path->value;
  }
  return "an abstract UNIX socket";
}

// Message of any of the three kinds around one payload: the reply cases have the same names.
template <proto::FixedString Case, class... Args>
proto::DaemonMessage wrap(OutgoingKind kind, Args&&... args) {
  using proto::DaemonMessage;
  switch (kind) {
    case OutgoingKind::kTcp:
      return DaemonMessage::make<"TcpOutgoing">(
          proto::DaemonTcpOutgoing::make<Case>(std::forward<Args>(args)...));
    case OutgoingKind::kUdp:
      return DaemonMessage::make<"UdpOutgoing">(
          proto::DaemonUdpOutgoing::make<Case>(std::forward<Args>(args)...));
    case OutgoingKind::kSeqpacket:
      break;
  }
  return DaemonMessage::make<"SeqpacketOutgoing">(
      proto::DaemonSeqpacket::make<Case>(std::forward<Args>(args)...));
}

}  // namespace

Outgoing::Outgoing(ClientLink& link) : link_(link), watch_timer_(link.loop()) {}

Outgoing::~Outgoing() {
  if (is_holding_input_) {
    link_.release_input();
  }
}

std::size_t Outgoing::connection_count() const {
  return tables_[0].connections.size() + tables_[1].connections.size() +
         tables_[2].connections.size();
}

// ---- from the client

void Outgoing::handle(proto::LayerTcpOutgoing&& message) {
  using Message = proto::LayerTcpOutgoing;
  switch (message.index()) {
    case Message::index_of<"Connect">:
      return connect_in_order(OutgoingKind::kTcp, std::move(message.get<"Connect">()));
    case Message::index_of<"ConnectV2">:
      return connect_by_uid(OutgoingKind::kTcp, std::move(message.get<"ConnectV2">()));
    case Message::index_of<"Write">:
      return write(OutgoingKind::kTcp, std::move(message.get<"Write">()));
    case Message::index_of<"Close">:
      return close(OutgoingKind::kTcp, message.get<"Close">().connection_id);
  }
}

void Outgoing::handle(proto::LayerUdpOutgoing&& message) {
  using Message = proto::LayerUdpOutgoing;
  switch (message.index()) {
    case Message::index_of<"Connect">:
      return connect_in_order(OutgoingKind::kUdp, std::move(message.get<"Connect">()));
    case Message::index_of<"ConnectV2">:
      return connect_by_uid(OutgoingKind::kUdp, std::move(message.get<"ConnectV2">()));
    case Message::index_of<"Write">:
      return write(OutgoingKind::kUdp, std::move(message.get<"Write">()));
    case Message::index_of<"Close">:
      return close(OutgoingKind::kUdp, message.get<"Close">().connection_id);
  }
}

void Outgoing::handle(proto::LayerSeqpacket&& message) {
  using Message = proto::LayerSeqpacket;
  switch (message.index()) {
    case Message::index_of<"ConnectV2">:
      return connect_by_uid(OutgoingKind::kSeqpacket, std::move(message.get<"ConnectV2">()));
    case Message::index_of<"Write">:
      return write(OutgoingKind::kSeqpacket, std::move(message.get<"Write">()));
    case Message::index_of<"Close">:
      return close(OutgoingKind::kSeqpacket, message.get<"Close">().connection_id);
  }
}

void Outgoing::connect(OutgoingKind kind, proto::SocketAddress&& remote,
                       std::move_only_function<void(Connector::Outcome)> done) {
  auto connector = std::make_unique<Connector>(loop(), link_.target(), kind, std::move(remote));
  Connector* key = connector.get();
  auto shared_done =
      std::make_shared<std::move_only_function<void(Connector::Outcome)>>(std::move(done));
  auto outcome = connector->start([this, key, shared_done](Connector::Outcome late) {
    const auto finished = connecting_.extract(key);
    (*shared_done)(std::move(late));
  });
  if (outcome) {
    (*shared_done)(std::move(*outcome));
  } else {
    connecting_.emplace(key, std::move(connector));
  }
}

void Outgoing::connect_by_uid(OutgoingKind kind, proto::LayerConnectV2&& request) {
  connect(kind, std::move(request.remote_address),
          [this, kind, uid = request.uid](Connector::Outcome outcome) {
            link_.send(wrap<"ConnectV2">(kind, uid, adopt(kind, std::move(outcome))));
          });
}

void Outgoing::connect_in_order(OutgoingKind kind, proto::LayerConnect&& request) {
  auto place = std::make_shared<InOrder>();
  table(kind).in_order.push_back(place);
  connect(kind, std::move(request.remote_address), [this, kind, place](Connector::Outcome outcome) {
    place->outcome = std::move(outcome);
    answer_in_order(kind);
  });
}

void Outgoing::answer_in_order(OutgoingKind kind) {
  auto& waiting = table(kind).in_order;
  while (!waiting.empty() && waiting.front()->outcome) {
    const std::shared_ptr<InOrder> first = std::move(waiting.front());
    waiting.pop_front();
    proto::Res<proto::DaemonConnect> reply = adopt(kind, std::move(*first->outcome));
    if (kind == OutgoingKind::kTcp) {
      link_.send(proto::DaemonMessage::make<"TcpOutgoing">(
          proto::DaemonTcpOutgoing::make<"Connect">(std::move(reply))));
    } else {
      link_.send(proto::DaemonMessage::make<"UdpOutgoing">(
          proto::DaemonUdpOutgoing::make<"Connect">(std::move(reply))));
    }
  }
}

// Makes a connection of a connected socket. Its data follows the reply.
proto::Res<proto::DaemonConnect> Outgoing::adopt(OutgoingKind kind, Connector::Outcome&& outcome) {
  if (!outcome) {
    return std::unexpected(std::move(outcome.error()));
  }
  const proto::ConnectionId id = table(kind).next_id++;
  auto connection = std::make_unique<OutgoingConnection>(
      *this, kind, id, std::move(outcome->socket), name_of(outcome->remote));
  OutgoingConnection& adopted = *connection;
  table(kind).connections.emplace(id, std::move(connection));
  adopted.start();
  return proto::DaemonConnect{id, std::move(outcome->remote), std::move(outcome->local)};
}

OutgoingConnection* Outgoing::find(OutgoingKind kind, proto::ConnectionId id) {
  auto& connections = table(kind).connections;
  const auto found = connections.find(id);
  return found == connections.end() ? nullptr : found->second.get();
}

void Outgoing::write(OutgoingKind kind, proto::LayerWrite&& request) {
  OutgoingConnection* connection = find(kind, request.connection_id);
  if (connection == nullptr || connection->client_has_ended) {
    return;
  }
  if (request.bytes.empty()) {
    if (kind != OutgoingKind::kUdp) {  // an empty datagram carries nothing and ends nothing
      connection->client_has_ended = true;
      connection->finish_writing();
    }
    return;
  }
  queued_estimate_ += request.bytes.size();
  connection->write(std::move(request.bytes));
  start_watch();
  if (connection->queued_bytes() > kFlushAt) {
    connection->flush();  // may fail, and then it is gone
    connection = find(kind, request.connection_id);
    if (connection == nullptr) {
      return;
    }
  }
  if (connection->is_above_high_mark() && !connection->client_is_paused && link_.speaks_flight()) {
    connection->client_is_paused = true;
    send_close(kind, proto::with_hint(proto::Hint::kPause, connection->id()));
  }
  limit_memory();
}

void Outgoing::close(OutgoingKind kind, proto::ConnectionId id) {
  OutgoingConnection* connection = find(kind, proto::without_hint(id));
  if (connection == nullptr) {
    return;
  }
  switch (proto::hint_of(id)) {
    case proto::Hint::kPause:
      connection->hold_reading(OutgoingConnection::kClientPaused);
      return;
    case proto::Hint::kResume:
      connection->release_reading(OutgoingConnection::kClientPaused);
      return;
    case proto::Hint::kReset:
      connection->reset_on_close();
      drop(*connection);
      return;
    case proto::Hint::kNone:
      abandon(*connection);
      return;
  }
}

// The client wants no more of it, but what it has sent before goes out.
void Outgoing::abandon(OutgoingConnection& connection) {
  const OutgoingKind kind = connection.kind();
  const proto::ConnectionId id = connection.id();
  connection.flush();  // may fail, and then it is gone
  if (find(kind, id) == nullptr) {
    return;
  }
  if (connection.queued_bytes() == 0) {
    drop(connection);
    return;
  }
  auto node = table(kind).connections.extract(id);
  connection.is_abandoned = true;
  connection.abandoned_at_ms = loop().now_ms();
  abandoned_.emplace(&connection, std::move(node.mapped()));
  connection.finish_writing();
  start_watch();
}

void Outgoing::drop(OutgoingConnection& connection) {
  if (connection.is_abandoned) {
    abandoned_.erase(&connection);
  } else {
    table(connection.kind()).connections.erase(connection.id());
  }
}

// ---- from the sockets

void Outgoing::received(OutgoingConnection& connection, std::size_t count) {
  if (connection.is_abandoned) {
    return;
  }
  const OutgoingKind kind = connection.kind();
  send_data(kind, connection.id(), buffer_.take(count));
  if (link_.is_congested()) {
    connection.hold_reading(OutgoingConnection::kCongestion);
    waiting_for_client_.emplace_back(kind, connection.id());
  }
}

void Outgoing::on_drained() {
  const auto waiting = std::exchange(waiting_for_client_, {});
  for (const auto& [kind, id] : waiting) {
    if (OutgoingConnection* connection = find(kind, id)) {
      connection->release_reading(OutgoingConnection::kCongestion);
    }
  }
}

void Outgoing::peer_ended(OutgoingConnection& connection) {
  connection.peer_has_ended = true;
  if (!connection.is_abandoned) {
    send_data(connection.kind(), connection.id(), {});
  }
  drop_if_done(connection);
}

void Outgoing::sent_end(OutgoingConnection& connection) {
  connection.is_end_sent = true;
  drop_if_done(connection);
}

void Outgoing::drop_if_done(OutgoingConnection& connection) {
  if (!connection.peer_has_ended || !connection.is_end_sent) {
    return;
  }
  if (!connection.is_abandoned) {
    send_close(connection.kind(), connection.id());
  }
  drop(connection);
}

void Outgoing::failed(OutgoingConnection& connection, const Error& error) {
  if (!connection.is_abandoned) {
    link_.log_warning("outgoing connection to " + connection.peer_name() + ": " + error.what);
    send_close(connection.kind(), connection.id());
  }
  drop(connection);
}

void Outgoing::drained(OutgoingConnection& connection) {
  if (connection.client_is_paused && !connection.is_abandoned) {
    connection.client_is_paused = false;
    send_close(connection.kind(), proto::with_hint(proto::Hint::kResume, connection.id()));
  }
  if (is_holding_input_) {
    limit_memory();
  }
}

// ---- to the client

void Outgoing::send_data(OutgoingKind kind, proto::ConnectionId id, proto::Bytes&& bytes) {
  link_.send(wrap<"Read">(kind, proto::DaemonRead{id, std::move(bytes)}));
}

void Outgoing::send_close(OutgoingKind kind, proto::ConnectionId id) {
  link_.send(wrap<"Close">(kind, id));
}

// ---- memory and progress

std::size_t Outgoing::total_queued() const {
  std::size_t total = 0;
  for (const Table& table : tables_) {
    for (const auto& [id, connection] : table.connections) {
      total += connection->queued_bytes();
    }
  }
  for (const auto& [key, connection] : abandoned_) {
    total += connection->queued_bytes();
  }
  return total;
}

// Counting everything takes a walk over all connections, so it is done when the sum of what came in
// since the last time could make a difference.
void Outgoing::limit_memory() {
  if (!is_holding_input_ && queued_estimate_ <= kTotalCap) {
    return;
  }
  queued_estimate_ = total_queued();
  if (!is_holding_input_ && queued_estimate_ > kTotalCap / 4 * 3) {
    is_holding_input_ = true;
    link_.hold_input();
    watch_timer_.start_repeating(kHeldWatchPeriod, [this] { watch_progress(); });
  } else if (is_holding_input_ && queued_estimate_ < kTotalCap / 2) {
    is_holding_input_ = false;
    watch_timer_.start_repeating(kWatchPeriod, [this] { watch_progress(); });
    link_.release_input();
  }
}

void Outgoing::start_watch() {
  if (!is_watching_) {
    is_watching_ = true;
    watch_timer_.start_repeating(kWatchPeriod, [this] { watch_progress(); });
  }
}

// Gives up peers that take nothing for kStallLimitMs. A client of ours is told to pause instead, so
// that a slow peer does no harm and may be as slow as it likes — unless memory has run out.
void Outgoing::watch_progress() {
  const std::uint64_t now = loop().now_ms();
  const bool is_strict = is_holding_input_ || !link_.speaks_flight();
  bool is_anything_left = !abandoned_.empty();
  std::vector<OutgoingConnection*> stuck;
  for (Table& table : tables_) {
    for (const auto& [id, connection] : table.connections) {
      is_anything_left = is_anything_left || connection->queued_bytes() != 0;
      if (connection->stalled_ms(now) > kStallLimitMs && is_strict) {
        stuck.push_back(connection.get());
      }
    }
  }
  for (const auto& [key, connection] : abandoned_) {
    const bool is_stuck = connection->stalled_ms(now) > kStallLimitMs;
    if (is_stuck || (connection->is_end_sent && now - connection->abandoned_at_ms > kLingerMs)) {
      stuck.push_back(connection.get());
    }
  }
  for (OutgoingConnection* connection : stuck) {
    failed(*connection, Error{ErrorCode::kTimeout, "the peer takes no more data", "", 0});
  }
  if (is_holding_input_) {
    limit_memory();
  } else if (!is_anything_left) {
    is_watching_ = false;
    watch_timer_.stop();
  }
}

}  // namespace mirrord::agent
