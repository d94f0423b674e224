// net/http/client_side.h — what HTTP/1 and HTTP/2 have in common as clients: their calls and their events.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "net/http/client_connection.h"
#include "net/http/limits.h"
#include "net/http/message.h"

namespace mirrord::net::http {

// As ServerEvents.
class ClientEvents {
 public:
  explicit ClientEvents(ClientConnection::Handlers handlers) : handlers_(std::move(handlers)) {}
  void detach() { is_detached_ = true; }
  [[nodiscard]] bool is_detached() const { return is_detached_; }

  void output(std::span<const std::byte> bytes) { call(handlers_.output, bytes); }
  void interim(ExchangeId id, ResponseHead&& head) { call(handlers_.interim, id, std::move(head)); }
  void response(ExchangeId id, ResponseHead&& head, BodyStart start) {
    call(handlers_.response, id, std::move(head), start);
  }
  void body(ExchangeId id, std::span<const std::byte> bytes) { call(handlers_.body, id, bytes); }
  void body_end(ExchangeId id, Headers&& trailers) {
    call(handlers_.body_end, id, std::move(trailers));
  }
  void failed(ExchangeId id, Failure&& failure) { call(handlers_.failed, id, std::move(failure)); }
  void drained(ExchangeId id) { call(handlers_.drained, id); }
  void input_wanted() { call(handlers_.input_wanted); }
  void ready() { call(handlers_.ready); }
  void closed(Close close) { call(handlers_.closed, close); }

 private:
  template <class Handler, class... Arguments>
  void call(Handler& handler, Arguments&&... arguments) {
    if (!is_detached_ && handler)
      handler(std::forward<Arguments>(arguments)...);
  }

  ClientConnection::Handlers handlers_;
  bool is_detached_ = false;
};

class ClientSide {
 public:
  virtual ~ClientSide() = default;
  [[nodiscard]] virtual bool can_request() const = 0;
  [[nodiscard]] virtual bool is_reusable() const = 0;
  virtual std::optional<ExchangeId> request(const RequestHead& head, BodyStart start) = 0;
  virtual void body(ExchangeId id, std::span<const std::byte> bytes) = 0;
  virtual void end(ExchangeId id, const Headers& trailers) = 0;
  virtual void cancel(ExchangeId id) = 0;
  virtual void shut_down() = 0;
  virtual void receive(std::span<const std::byte> bytes) = 0;
  virtual void receive_end() = 0;
  virtual void receive_failure() = 0;
  [[nodiscard]] virtual bool wants_input() const = 0;
  virtual void consumed(ExchangeId id, std::size_t bytes) = 0;
  virtual void hold_output(bool is_held) = 0;
  [[nodiscard]] virtual std::size_t queued(ExchangeId id) const = 0;
  [[nodiscard]] virtual std::size_t exchanges() const = 0;
  [[nodiscard]] virtual std::string_view violation() const = 0;
};

std::unique_ptr<ClientSide> make_http1_client(ClientEvents& events, const Limits& limits);
std::unique_ptr<ClientSide> make_http2_client(ClientEvents& events, const Limits& limits);

}  // namespace mirrord::net::http
