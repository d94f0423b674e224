// net/http/client_connection.cpp — hands every call to the protocol's side.
#include "net/http/client_connection.h"

#include <utility>

#include "net/http/client_side.h"

namespace mirrord::net::http {

class ClientConnection::Engine {
 public:
  Engine(Protocol protocol, Handlers handlers, const Limits& limits)
      : events_(std::move(handlers)),
        side_(protocol == Protocol::kHttp2 ? make_http2_client(events_, limits)
                                           : make_http1_client(events_, limits)) {}

  ClientEvents events_;
  std::unique_ptr<ClientSide> side_;
};

ClientConnection::ClientConnection(Protocol protocol, Handlers handlers, const Limits& limits)
    : engine_(std::make_shared<Engine>(protocol, std::move(handlers), limits)) {}

ClientConnection::ClientConnection(ClientConnection&&) noexcept = default;

ClientConnection& ClientConnection::operator=(ClientConnection&& other) noexcept {
  if (engine_ && engine_ != other.engine_)
    engine_->events_.detach();
  engine_ = std::move(other.engine_);
  return *this;
}

ClientConnection::~ClientConnection() {
  if (engine_)
    engine_->events_.detach();
}

// Each call holds the engine: a handler may destroy this object.

bool ClientConnection::can_request() const {
  return engine_->side_->can_request();
}

bool ClientConnection::is_reusable() const {
  return engine_->side_->is_reusable();
}

std::optional<ExchangeId> ClientConnection::request(const RequestHead& head, BodyStart start) {
  const auto engine = engine_;
  return engine->side_->request(head, start);
}

void ClientConnection::body(ExchangeId id, std::span<const std::byte> bytes) {
  const auto engine = engine_;
  engine->side_->body(id, bytes);
}

void ClientConnection::end(ExchangeId id, const Headers& trailers) {
  const auto engine = engine_;
  engine->side_->end(id, trailers);
}

void ClientConnection::cancel(ExchangeId id) {
  const auto engine = engine_;
  engine->side_->cancel(id);
}

void ClientConnection::shut_down() {
  const auto engine = engine_;
  engine->side_->shut_down();
}

void ClientConnection::receive(std::span<const std::byte> bytes) {
  const auto engine = engine_;
  engine->side_->receive(bytes);
}

void ClientConnection::receive_end() {
  const auto engine = engine_;
  engine->side_->receive_end();
}

void ClientConnection::receive_failure() {
  const auto engine = engine_;
  engine->side_->receive_failure();
}

bool ClientConnection::wants_input() const {
  return engine_->side_->wants_input();
}

void ClientConnection::consumed(ExchangeId id, std::size_t bytes) {
  const auto engine = engine_;
  engine->side_->consumed(id, bytes);
}

void ClientConnection::hold_output(bool is_held) {
  const auto engine = engine_;
  engine->side_->hold_output(is_held);
}

std::size_t ClientConnection::queued(ExchangeId id) const {
  return engine_->side_->queued(id);
}

bool ClientConnection::is_idle() const {
  return exchanges() == 0;
}

std::size_t ClientConnection::exchanges() const {
  return engine_->side_->exchanges();
}

std::string_view ClientConnection::violation() const {
  return engine_->side_->violation();
}

}  // namespace mirrord::net::http
