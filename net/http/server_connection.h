// net/http/server_connection.h — the server's side of one HTTP/1 or HTTP/2 connection, without sockets or clocks:
// bytes in, events out; calls in, bytes out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "net/http/limits.h"
#include "net/http/message.h"

namespace mirrord::net::http {

using ExchangeId =
    std::uint64_t;  // one request and its answer; unique within the connection, never 0

enum class Protocol { kDetect, kHttp1, kHttp2 };

// What becomes of the transport. Both come after the last `output`: let that leave first.
enum class Close {
  kSending,  // shut down the sending half and go on reading: a tunnel whose one direction has ended
  kBoth,  // the connection is over. Closing at once may make the kernel discard what the peer has not read:
          // shut down sending, then read and discard for a moment
  kReset,  // the connection is over and must not look complete (SO_LINGER 0): an answer whose end is the
           // connection's was aborted
};

// Exchanges of HTTP/1 come one after the other, those of HTTP/2 at the same time. An exchange ends when its
// request and its answer have both ended, or with `cancelled` or abort(); calls for one that has ended do
// nothing, so that a late answer needs no care.
//
// A tunnel (101, or 2xx to CONNECT) is an exchange whose bodies begin anew with that answer and are raw bytes
// both ways: `body` and `body_end` come from the client, body() and end() go to it.
//
// Any handler may call back into the connection or destroy it. Not thread-safe.
class ServerConnection {
 public:
  struct Handlers {
    // Bytes for the client, valid during the call.
    std::move_only_function<void(std::span<const std::byte>)> output;
    // A request; what has arrived of its body comes with it. A request with "Expect: 100-continue" is one like
    // any other: interim() is the receiver's to call.
    std::move_only_function<void(ExchangeId, RequestHead&&, BodyStart)> request;
    // More of the body, valid during the call; then its end. Report with consumed() what has been dealt with;
    // what comes after the answer has ended counts as consumed.
    std::move_only_function<void(ExchangeId, std::span<const std::byte>)> body;
    std::move_only_function<void(ExchangeId, Headers&& trailers)> body_end;
    // The client gave this exchange up, or its connection ended. Nothing about it follows.
    std::move_only_function<void(ExchangeId)> cancelled;
    // queued() of that exchange fell below half of Limits::queued_bytes after it had been above it.
    std::move_only_function<void(ExchangeId)> drained;
    // wants_input() has become true again.
    std::move_only_function<void()> input_wanted;
    // Called once with kBoth or kReset as the connection's last event, before it at most once with kSending.
    std::move_only_function<void(Close)> closed;
  };

  ServerConnection(Protocol protocol, Handlers handlers, const Limits& limits = {});
  ServerConnection(ServerConnection&&) noexcept;
  ServerConnection& operator=(ServerConnection&&) noexcept;
  ~ServerConnection();

  // Bytes from the client, taken whole whatever wants_input() says; and the end of what it sends.
  void receive(std::span<const std::byte> bytes);
  void receive_end();
  // The transport failed: every exchange is cancelled, then `closed`.
  void receive_failure();

  // Whether reading should go on. False while a body waits for consumed(), or requests wait for their turn.
  [[nodiscard]] bool wants_input() const;
  // Tells that this many bytes of a body have been dealt with. HTTP/2: opens the client's window by them.
  void consumed(ExchangeId id, std::size_t bytes);

  // The final answer's head. With `start.is_end` the answer is complete: length and END_STREAM travel with the
  // head. Framing is the connection's own: the length of "Content-Length", else chunks, else (HTTP/1.0) the end of the
  // connection. A head of another version is translated (translate.h).
  void respond(ExchangeId id, const ResponseHead& head, BodyStart start = {});
  // A 1xx head other than 101, before the final one.
  void interim(ExchangeId id, const ResponseHead& head);
  void body(ExchangeId id, std::span<const std::byte> bytes);
  void end(ExchangeId id, const Headers& trailers = {});
  // The answer cannot be completed: RST_STREAM; HTTP/1 ends the connection, so that the client sees that
  // something is missing. Before respond() prefer an answer of your own (502).
  void abort(ExchangeId id);

  // Finishes what has begun and takes nothing new: GOAWAY; HTTP/1 answers with "Connection: close".
  void shut_down();

  // While true, body bytes are held back in here: the transport's queue is above its mark.
  void hold_output(bool is_held);
  // Body bytes of an exchange that wait here for output or the client's window. Stop producing above
  // Limits::queued_bytes, go on at `drained`.
  [[nodiscard]] std::size_t queued(ExchangeId id) const;

  // For time-outs, which are the caller's.
  [[nodiscard]] bool is_idle() const;  // no exchange is open, and no head has begun
  [[nodiscard]] std::size_t partial_head()
      const;  // bytes of a head that is not complete; 0: none has begun
  [[nodiscard]] std::size_t exchanges() const;  // how many are open
  [[nodiscard]] Protocol protocol() const;      // kDetect until known

  // Why the connection ended, if the client broke the protocol; for a log. Empty otherwise.
  [[nodiscard]] std::string_view violation() const;

  class Engine;  // one of HTTP/1 and HTTP/2

 private:
  std::shared_ptr<Engine> engine_;  // shared with its own running calls: a handler may destroy us
};

}  // namespace mirrord::net::http
