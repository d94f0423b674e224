// applets/agent/connection_table.cpp — relays between a client and its connections.
#include "applets/agent/connection_table.h"

#include <chrono>

namespace mirrord::agent {

namespace {

// This much goes out at once, while it is in the processor's cache, not with the rest of a batch.
constexpr std::size_t kFlushAt = 256 * 1024;
constexpr std::chrono::milliseconds kWatchPeriod{1000};
constexpr std::chrono::milliseconds kHeldWatchPeriod{10};

}  // namespace

ConnectionTable::ConnectionTable(ClientLink& link, Words words)
    : link_(link), words_(std::move(words)), watch_timer_(link.loop()) {}

ConnectionTable::~ConnectionTable() {
  if (is_holding_input_) {
    link_.release_input();
  }
}

std::size_t ConnectionTable::connection_count() const {
  return tables_[0].size() + tables_[1].size() + tables_[2].size();
}

void ConnectionTable::reset_all() {
  for (Connections& connections : tables_) {
    for (const auto& [id, connection] : connections) {
      connection->reset_on_close();
    }
    connections.clear();
  }
  abandoned_.clear();
}

ClientConnection& ConnectionTable::adopt(SocketKind kind, proto::ConnectionId id, Fd socket,
                                         std::string peer_name) {
  auto connection =
      std::make_unique<ClientConnection>(*this, kind, id, std::move(socket), std::move(peer_name));
  ClientConnection& adopted = *connection;
  table(kind).emplace(id, std::move(connection));
  adopted.start();
  return adopted;
}

// ---- from the client

ClientConnection* ConnectionTable::find(SocketKind kind, proto::ConnectionId id) {
  Connections& connections = table(kind);
  const auto found = connections.find(id);
  return found == connections.end() ? nullptr : found->second.get();
}

void ConnectionTable::write(SocketKind kind, proto::ConnectionId id, proto::Bytes&& bytes) {
  ClientConnection* connection = find(kind, id);
  if (connection == nullptr || connection->client_has_ended) {
    return;
  }
  if (bytes.empty()) {
    if (kind != SocketKind::kUdp) {  // an empty datagram carries nothing and ends nothing
      connection->client_has_ended = true;
      connection->finish_writing();
    }
    return;
  }
  queued_estimate_ += bytes.size();
  connection->write(std::move(bytes));
  start_watch();
  if (connection->queued_bytes() > kFlushAt) {
    connection->flush();  // may fail, and then it is gone
    connection = find(kind, id);
    if (connection == nullptr) {
      return;
    }
  }
  if (connection->is_above_high_mark() && !connection->client_is_paused && link_.speaks_flight()) {
    connection->client_is_paused = true;
    words_.close(kind, proto::with_hint(proto::Hint::kPause, connection->id()));
  }
  limit_memory();
}

bool ConnectionTable::take_hint(SocketKind kind, proto::ConnectionId id) {
  const proto::Hint hint = proto::hint_of(id);
  ClientConnection* connection = find(kind, proto::without_hint(id));
  if (connection == nullptr || hint == proto::Hint::kNone) {
    return hint == proto::Hint::kNone;
  }
  switch (hint) {
    case proto::Hint::kPause:
      connection->hold_reading(ClientConnection::kClientPaused);
      break;
    case proto::Hint::kResume:
      connection->release_reading(ClientConnection::kClientPaused);
      break;
    case proto::Hint::kReset:
      reset(kind, proto::without_hint(id));
      break;
    case proto::Hint::kNone:
      break;
  }
  return false;
}

void ConnectionTable::reset(SocketKind kind, proto::ConnectionId id) {
  if (ClientConnection* connection = find(kind, id)) {
    connection->reset_on_close();
    drop(*connection);
  }
}

void ConnectionTable::abandon(SocketKind kind, proto::ConnectionId id) {
  if (ClientConnection* connection = find(kind, id)) {
    abandon(*connection);
  }
}

void ConnectionTable::abandon(ClientConnection& connection) {
  const SocketKind kind = connection.kind();
  const proto::ConnectionId id = connection.id();
  connection.flush();  // may fail, and then it is gone
  if (find(kind, id) == nullptr) {
    return;
  }
  if (connection.queued_bytes() == 0) {
    drop(connection);
    return;
  }
  auto node = table(kind).extract(id);
  connection.is_abandoned = true;
  connection.abandoned_at_ms = loop().now_ms();
  abandoned_.emplace(&connection, std::move(node.mapped()));
  connection.finish_writing();
  start_watch();
}

void ConnectionTable::drop(ClientConnection& connection) {
  if (connection.is_abandoned) {
    abandoned_.erase(&connection);
  } else {
    table(connection.kind()).erase(connection.id());
  }
}

// ---- from the sockets

void ConnectionTable::received(ClientConnection& connection, std::size_t count) {
  if (connection.is_abandoned) {
    return;
  }
  const SocketKind kind = connection.kind();
  words_.data(kind, connection.id(), buffer_.take(count));
  if (link_.is_congested()) {
    connection.hold_reading(ClientConnection::kCongestion);
    waiting_for_client_.emplace_back(kind, connection.id());
  }
}

void ConnectionTable::on_drained() {
  const auto waiting = std::exchange(waiting_for_client_, {});
  for (const auto& [kind, id] : waiting) {
    if (ClientConnection* connection = find(kind, id)) {
      connection->release_reading(ClientConnection::kCongestion);
    }
  }
}

void ConnectionTable::peer_ended(ClientConnection& connection) {
  connection.peer_has_ended = true;
  if (!connection.is_abandoned) {
    words_.data(connection.kind(), connection.id(), {});
  }
  drop_if_done(connection);
}

void ConnectionTable::sent_end(ClientConnection& connection) {
  connection.is_end_sent = true;
  drop_if_done(connection);
}

void ConnectionTable::drop_if_done(ClientConnection& connection) {
  if (!connection.peer_has_ended || !connection.is_end_sent) {
    return;
  }
  if (!connection.is_abandoned) {
    words_.close(connection.kind(), connection.id());
  }
  drop(connection);
}

void ConnectionTable::failed(ClientConnection& connection, const Error& error) {
  if (!connection.is_abandoned) {
    words_.failed(connection, error);
    words_.close(connection.kind(), connection.id());
  }
  drop(connection);
}

void ConnectionTable::drained(ClientConnection& connection) {
  if (connection.client_is_paused && !connection.is_abandoned) {
    connection.client_is_paused = false;
    words_.close(connection.kind(), proto::with_hint(proto::Hint::kResume, connection.id()));
  }
  if (is_holding_input_) {
    limit_memory();
  }
}

// ---- memory and progress

std::size_t ConnectionTable::total_queued() const {
  std::size_t total = 0;
  for (const Connections& connections : tables_) {
    for (const auto& [id, connection] : connections) {
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
void ConnectionTable::limit_memory() {
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

void ConnectionTable::start_watch() {
  if (!is_watching_) {
    is_watching_ = true;
    watch_timer_.start_repeating(kWatchPeriod, [this] { watch_progress(); });
  }
}

// Gives up peers that take nothing for kStallLimitMs. A client of ours is told to pause instead, so
// that a slow peer does no harm and may be as slow as it likes — unless memory has run out.
void ConnectionTable::watch_progress() {
  const std::uint64_t now = loop().now_ms();
  const bool is_strict = is_holding_input_ || !link_.speaks_flight();
  bool is_anything_left = !abandoned_.empty();
  std::vector<ClientConnection*> stuck;
  for (const Connections& connections : tables_) {
    for (const auto& [id, connection] : connections) {
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
  for (ClientConnection* connection : stuck) {
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
