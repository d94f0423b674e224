// net/http/client_connection.h — the client's side of one HTTP/1 or HTTP/2 connection, without sockets or clocks:
// calls in, bytes out; bytes in, events out.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/http/limits.h"
#include "net/http/message.h"
#include "net/http/server_connection.h"

namespace mirrord::net::http {

// Why an exchange got no complete answer.
struct Failure {
  std::string why;  // "the server closed the connection before it answered"
  bool is_refused =
      false;  // the server certainly did nothing with it: sending it again elsewhere is safe
  bool is_unanswered =
      false;  // nothing of an answer came: as a used connection that the server was closing
};

// HTTP/1 carries one exchange at a time, HTTP/2 as many as the server allows. Tunnels, the rules for handlers
// and for exchanges that have ended are those of ServerConnection.
class ClientConnection {
 public:
  struct Handlers {
    std::move_only_function<void(std::span<const std::byte>)> output;
    // A 1xx head other than 101. It may come any number of times.
    std::move_only_function<void(ExchangeId, ResponseHead&&)> interim;
    std::move_only_function<void(ExchangeId, ResponseHead&&, BodyStart)> response;
    std::move_only_function<void(ExchangeId, std::span<const std::byte>)> body;
    std::move_only_function<void(ExchangeId, Headers&& trailers)> body_end;
    // Instead of the rest of the answer. Nothing about the exchange follows.
    std::move_only_function<void(ExchangeId, Failure&&)> failed;
    std::move_only_function<void(ExchangeId)> drained;
    std::move_only_function<void()> input_wanted;
    // can_request() has become true: another exchange fits, or an HTTP/1 connection is idle again.
    std::move_only_function<void()> ready;
    std::move_only_function<void(Close)> closed;
  };

  // `protocol` is kHttp1 or kHttp2 (by prior knowledge or ALPN).
  ClientConnection(Protocol protocol, Handlers handlers, const Limits& limits = {});
  ClientConnection(ClientConnection&&) noexcept;
  ClientConnection& operator=(ClientConnection&&) noexcept;
  ~ClientConnection();

  // Whether a request can be sent now. False for good after `closed`, "Connection: close", GOAWAY, or the end of
  // what the server sends. A pool must read from idle connections to learn that.
  [[nodiscard]] bool can_request() const;
  // Whether it will be able to again, once what runs has ended.
  [[nodiscard]] bool is_reusable() const;

  // Sends a request; nothing if !can_request(). With `start.is_end` it is complete. Framing as in
  // ServerConnection::respond; a request of unknown length goes out in chunks.
  std::optional<ExchangeId> request(const RequestHead& head, BodyStart start = {});
  void body(ExchangeId id, std::span<const std::byte> bytes);
  void end(ExchangeId id, const Headers& trailers = {});
  // Gives an exchange up: RST_STREAM; HTTP/1 ends the connection. No event about it follows.
  void cancel(ExchangeId id);
  // Ends an idle connection, or one whose exchanges may finish first (GOAWAY).
  void shut_down();

  void receive(std::span<const std::byte> bytes);
  void receive_end();
  void receive_failure();

  [[nodiscard]] bool wants_input() const;
  void consumed(ExchangeId id, std::size_t bytes);
  void hold_output(bool is_held);
  [[nodiscard]] std::size_t queued(ExchangeId id) const;

  [[nodiscard]] bool is_idle() const;
  [[nodiscard]] std::size_t exchanges() const;
  [[nodiscard]] std::string_view violation() const;

  class Engine;

 private:
  std::shared_ptr<Engine> engine_;  // shared with its own running calls: a handler may destroy us
};

}  // namespace mirrord::net::http
