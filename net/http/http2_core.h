// net/http/http2_core.h — one HTTP/2 connection over nghttp2: streams, their queues and windows, for both sides.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "net/http/limits.h"
#include "net/http/message.h"

extern "C" {
struct nghttp2_session;
struct nghttp2_session_callbacks;
}

namespace mirrord::net::http {

// Both directions of one stream.
struct Http2Stream {
  std::int32_t id = 0;

  // Receiving. A head is told when the bytes at hand are read, so that what follows it can go along.
  RequestHead request;    // the server's side
  ResponseHead response;  // the client's side
  Headers trailers;
  std::size_t head_bytes = 0;
  bool is_too_large = false;
  bool is_interim = false;
  bool has_head = false;  // complete
  bool is_head_told = false;
  bool has_end = false;  // END_STREAM came
  bool is_end_told = false;
  std::string start;  // of the body, until the head is told
  std::size_t unconsumed = 0;
  bool consumes_itself = false;  // nobody waits for what still comes

  // Sending.
  std::string method;  // of the request
  std::string queue;
  std::size_t sent = 0;  // bytes at the front of the queue that have left
  bool has_answer = false;
  bool is_ended = false;     // nothing will be added to the queue
  bool is_deferred = false;  // nghttp2 waits for more
  bool is_above = false;     // the queue was above its mark
  Headers trailers_out;
  bool is_over = false;  // given up: no event about it follows

  [[nodiscard]] std::size_t queued() const { return queue.size() - sent; }
};

// What the connection's side does with the events.
class Http2Owner {
 public:
  virtual void on_head(Http2Stream& stream, BodyStart start) = 0;
  virtual void on_interim(Http2Stream& stream) = 0;
  virtual void on_body(Http2Stream& stream, std::span<const std::byte> bytes) = 0;
  virtual void on_end(Http2Stream& stream) = 0;
  // The stream is gone; `error` is an HTTP/2 error code, 0 for none.
  virtual void on_close(Http2Stream& stream, std::uint32_t error) = 0;
  virtual void on_output(std::span<const std::byte> bytes) = 0;
  virtual void on_drained(Http2Stream& stream) = 0;
  // Once, as the last event: neither side has anything left to say.
  virtual void on_closed() = 0;

 protected:
  ~Http2Owner() = default;
};

class Http2Core {
 public:
  enum class Role { kServer, kClient };

  Http2Core(Role role, Http2Owner& owner, const Limits& limits);
  Http2Core(const Http2Core&) = delete;
  Http2Core& operator=(const Http2Core&) = delete;
  ~Http2Core();

  void receive(std::span<const std::byte> bytes);
  // The transport is gone: every stream is closed, then the connection.
  void fail(std::string_view why);

  [[nodiscard]] Http2Stream* find(std::uint64_t id);
  [[nodiscard]] const Http2Stream* find(std::uint64_t id) const;
  [[nodiscard]] std::size_t size() const { return streams_.size(); }
  [[nodiscard]] bool is_closed() const { return is_closed_; }
  // The client's side: whether another request fits now, and whether any is taken at all.
  [[nodiscard]] bool may_request() const;
  [[nodiscard]] bool takes_requests() const;

  // Sends a response's head, or opens a stream with a request's. `has_body`: body bytes or trailers follow.
  void submit_response(Http2Stream& stream, const ResponseHead& head, bool has_body);
  void submit_interim(const Http2Stream& stream, const ResponseHead& head);
  Http2Stream* submit_request(const RequestHead& head, bool has_body);
  void add_body(Http2Stream& stream, std::span<const std::byte> bytes);
  void end_body(Http2Stream& stream, const Headers& trailers);
  void reset(Http2Stream& stream, std::uint32_t error);
  void consume(Http2Stream& stream, std::size_t bytes);

  // Finishes the streams that are open and takes no new ones.
  void shut_down();
  void hold_output(bool is_held);
  // Lets out what was submitted, unless a receive() further up will do it.
  void flush();

  // A head has begun that is not complete: bytes of it that came.
  [[nodiscard]] std::size_t partial_head() const { return partial_head_; }
  [[nodiscard]] std::string_view violation() const { return violation_; }

 private:
  friend struct Http2Callbacks;

  [[nodiscard]] bool is_server() const { return role_ == Role::kServer; }
  [[nodiscard]] Http2Stream* find_stream(std::int32_t id);
  void start();
  Http2Stream& open(std::int32_t id);
  void finish_head(Http2Stream& stream, bool is_end);
  void tell_head(Http2Stream& stream);
  void tell_heads();
  void tell_end(Http2Stream& stream);
  void tell_drained();
  void send_all();
  void close();
  void break_off(std::uint32_t error, std::string_view why);

  Role role_;
  Http2Owner* owner_;
  Limits limits_;
  nghttp2_session* session_ = nullptr;
  std::unordered_map<std::int32_t, std::unique_ptr<Http2Stream>> streams_;
  std::vector<std::int32_t> untold_;  // streams whose head is complete
  std::vector<std::int32_t> drained_;
  std::string output_;
  int depth_ = 0;  // calls that will flush at their end
  bool is_started_ = false, is_held_ = false, is_closed_ = false, is_shutting_down_ = false;
  bool has_settings_ = false, has_received_goaway_ = false;  // from the peer
  std::size_t useless_frames_ = 0;
  std::size_t partial_head_ = 0;
  std::string violation_;
};

}  // namespace mirrord::net::http
