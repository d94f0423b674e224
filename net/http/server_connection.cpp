// net/http/server_connection.cpp — chooses the protocol and hands every call to it.
#include "net/http/server_connection.h"

#include <algorithm>
#include <string>
#include <utility>

#include "net/http/detect.h"
#include "net/http/server_side.h"

namespace mirrord::net::http {

class ServerConnection::Engine {
 public:
  Engine(Protocol protocol, Handlers handlers, const Limits& limits)
      : events_(std::move(handlers)), limits_(limits) {
    choose(protocol);
  }

  void choose(Protocol protocol) {
    protocol_ = protocol;
    if (protocol == Protocol::kHttp1)
      side_ = make_http1_server(events_, limits_);
    else if (protocol == Protocol::kHttp2)
      side_ = make_http2_server(events_, limits_);
  }

  // Before the protocol is known, bytes are kept. What is no HTTP goes to HTTP/1, which refuses it.
  void receive(std::span<const std::byte> bytes) {
    if (side_)
      return side_->receive(bytes);
    first_bytes_.append(as_text(bytes));
    const Detected detected = detect(as_bytes(first_bytes_));
    if (detected == Detected::kNeedsMore)
      return;
    decide(detected == Detected::kHttp2 ? Protocol::kHttp2 : Protocol::kHttp1);
  }
  void decide(Protocol protocol) {
    choose(protocol);
    const std::string bytes = std::exchange(first_bytes_, {});
    side_->receive(as_bytes(bytes));
  }
  // The side, whatever has come.
  ServerSide& side() {
    if (!side_)
      decide(Protocol::kHttp1);
    return *side_;
  }

  ServerEvents events_;
  Limits limits_;
  Protocol protocol_ = Protocol::kDetect;
  std::unique_ptr<ServerSide> side_;  // null until the protocol is known
  std::string first_bytes_;
};

ServerConnection::ServerConnection(Protocol protocol, Handlers handlers, const Limits& limits)
    : engine_(std::make_shared<Engine>(protocol, std::move(handlers), limits)) {}

ServerConnection::ServerConnection(ServerConnection&&) noexcept = default;

ServerConnection& ServerConnection::operator=(ServerConnection&& other) noexcept {
  if (engine_ && engine_ != other.engine_)
    engine_->events_.detach();
  engine_ = std::move(other.engine_);
  return *this;
}

ServerConnection::~ServerConnection() {
  if (engine_)
    engine_->events_.detach();
}

// Each call holds the engine: a handler may destroy this object.

void ServerConnection::receive(std::span<const std::byte> bytes) {
  const auto engine = engine_;
  engine->receive(bytes);
}

void ServerConnection::receive_end() {
  const auto engine = engine_;
  engine->side().receive_end();
}

void ServerConnection::receive_failure() {
  const auto engine = engine_;
  engine->side().receive_failure();
}

bool ServerConnection::wants_input() const {
  return !engine_->side_ || engine_->side_->wants_input();
}

void ServerConnection::consumed(ExchangeId id, std::size_t bytes) {
  const auto engine = engine_;
  engine->side().consumed(id, bytes);
}

void ServerConnection::respond(ExchangeId id, const ResponseHead& head, BodyStart start) {
  const auto engine = engine_;
  engine->side().respond(id, head, start);
}

void ServerConnection::interim(ExchangeId id, const ResponseHead& head) {
  const auto engine = engine_;
  engine->side().interim(id, head);
}

void ServerConnection::body(ExchangeId id, std::span<const std::byte> bytes) {
  const auto engine = engine_;
  engine->side().body(id, bytes);
}

void ServerConnection::end(ExchangeId id, const Headers& trailers) {
  const auto engine = engine_;
  engine->side().end(id, trailers);
}

void ServerConnection::abort(ExchangeId id) {
  const auto engine = engine_;
  engine->side().abort(id);
}

void ServerConnection::shut_down() {
  const auto engine = engine_;
  engine->side().shut_down();
}

void ServerConnection::hold_output(bool is_held) {
  const auto engine = engine_;
  engine->side().hold_output(is_held);
}

std::size_t ServerConnection::queued(ExchangeId id) const {
  return engine_->side_ ? engine_->side_->queued(id) : 0;
}

bool ServerConnection::is_idle() const {
  return exchanges() == 0 && partial_head() == 0;
}

std::size_t ServerConnection::partial_head() const {
  return engine_->side_ ? engine_->side_->partial_head() : engine_->first_bytes_.size();
}

std::size_t ServerConnection::exchanges() const {
  return engine_->side_ ? engine_->side_->exchanges() : 0;
}

Protocol ServerConnection::protocol() const {
  return engine_->protocol_;
}

std::string_view ServerConnection::violation() const {
  return engine_->side_ ? engine_->side_->violation() : std::string_view();
}

}  // namespace mirrord::net::http
