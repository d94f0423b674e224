// net/http/server_side.h — what HTTP/1 and HTTP/2 have in common as servers: their calls and their events.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "net/http/limits.h"
#include "net/http/message.h"
#include "net/http/server_connection.h"

namespace mirrord::net::http {

// The handlers, silent once the connection object is gone. A handler stays in memory while it runs, since its
// owner, the engine, outlives the call.
class ServerEvents {
 public:
  explicit ServerEvents(ServerConnection::Handlers handlers) : handlers_(std::move(handlers)) {}
  void detach() { is_detached_ = true; }
  [[nodiscard]] bool is_detached() const { return is_detached_; }

  void output(std::span<const std::byte> bytes) { call(handlers_.output, bytes); }
  void request(ExchangeId id, RequestHead&& head, BodyStart start) {
    call(handlers_.request, id, std::move(head), start);
  }
  void body(ExchangeId id, std::span<const std::byte> bytes) { call(handlers_.body, id, bytes); }
  void body_end(ExchangeId id, Headers&& trailers) {
    call(handlers_.body_end, id, std::move(trailers));
  }
  void cancelled(ExchangeId id) { call(handlers_.cancelled, id); }
  void drained(ExchangeId id) { call(handlers_.drained, id); }
  void input_wanted() { call(handlers_.input_wanted); }
  void closed(Close close) { call(handlers_.closed, close); }

 private:
  template <class Handler, class... Arguments>
  void call(Handler& handler, Arguments&&... arguments) {
    if (!is_detached_ && handler)
      handler(std::forward<Arguments>(arguments)...);
  }

  ServerConnection::Handlers handlers_;
  bool is_detached_ = false;
};

class ServerSide {
 public:
  virtual ~ServerSide() = default;
  virtual void receive(std::span<const std::byte> bytes) = 0;
  virtual void receive_end() = 0;
  virtual void receive_failure() = 0;
  [[nodiscard]] virtual bool wants_input() const = 0;
  virtual void consumed(ExchangeId id, std::size_t bytes) = 0;
  virtual void respond(ExchangeId id, const ResponseHead& head, BodyStart start) = 0;
  virtual void interim(ExchangeId id, const ResponseHead& head) = 0;
  virtual void body(ExchangeId id, std::span<const std::byte> bytes) = 0;
  virtual void end(ExchangeId id, const Headers& trailers) = 0;
  virtual void abort(ExchangeId id) = 0;
  virtual void shut_down() = 0;
  virtual void hold_output(bool is_held) = 0;
  [[nodiscard]] virtual std::size_t queued(ExchangeId id) const = 0;
  [[nodiscard]] virtual std::size_t partial_head() const = 0;
  [[nodiscard]] virtual std::size_t exchanges() const = 0;
  [[nodiscard]] virtual std::string_view violation() const = 0;
};

std::unique_ptr<ServerSide> make_http1_server(ServerEvents& events, const Limits& limits);
std::unique_ptr<ServerSide> make_http2_server(ServerEvents& events, const Limits& limits);

// What is written in place of an answer that cannot be written.
[[nodiscard]] ResponseHead plain_answer(int status, std::size_t size);

}  // namespace mirrord::net::http
