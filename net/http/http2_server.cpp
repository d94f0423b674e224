// net/http/http2_server.cpp — the server's side of an HTTP/2 connection: streams as exchanges.
#include <nghttp2/nghttp2.h>

#include <string>
#include <utility>

#include "net/http/http2_core.h"
#include "net/http/server_side.h"

namespace mirrord::net::http {

namespace {

class Http2Server final : public ServerSide, private Http2Owner {
 public:
  Http2Server(ServerEvents& events, const Limits& limits)
      : events_(&events), core_(Http2Core::Role::kServer, *this, limits) {}

  void receive(std::span<const std::byte> bytes) override { core_.receive(bytes); }
  void receive_end() override { core_.fail("the client ended the connection"); }
  void receive_failure() override { core_.fail("the connection to the client broke"); }
  bool wants_input() const override { return !core_.is_closed(); }
  void consumed(ExchangeId id, std::size_t bytes) override;
  void respond(ExchangeId id, const ResponseHead& head, BodyStart start) override;
  void interim(ExchangeId id, const ResponseHead& head) override;
  void body(ExchangeId id, std::span<const std::byte> bytes) override;
  void end(ExchangeId id, const Headers& trailers) override;
  void abort(ExchangeId id) override;
  void shut_down() override {
    core_.shut_down();
    core_.flush();
  }
  void hold_output(bool is_held) override { core_.hold_output(is_held); }
  std::size_t queued(ExchangeId id) const override {
    const Http2Stream* stream = core_.find(id);
    return stream == nullptr ? 0 : stream->queued();
  }
  std::size_t partial_head() const override { return core_.partial_head(); }
  std::size_t exchanges() const override { return core_.size(); }
  std::string_view violation() const override { return core_.violation(); }

 private:
  void on_head(Http2Stream& stream, BodyStart start) override;
  void on_interim(Http2Stream&) override {}
  void on_body(Http2Stream& stream, std::span<const std::byte> bytes) override {
    events_->body(id_of(stream), bytes);
  }
  void on_end(Http2Stream& stream) override {
    events_->body_end(id_of(stream), std::move(stream.trailers));
  }
  void on_close(Http2Stream& stream, std::uint32_t error) override;
  void on_output(std::span<const std::byte> bytes) override { events_->output(bytes); }
  void on_drained(Http2Stream& stream) override { events_->drained(id_of(stream)); }
  void on_closed() override { events_->closed(Close::kBoth); }

  static ExchangeId id_of(const Http2Stream& stream) { return static_cast<ExchangeId>(stream.id); }
  // The stream of an exchange that has begun and has not been given up.
  Http2Stream* open(ExchangeId id) {
    Http2Stream* stream = core_.find(id);
    return stream == nullptr || !stream->is_head_told || stream->is_over ? nullptr : stream;
  }
  void finish_answer(Http2Stream& stream);

  ServerEvents* events_;
  Http2Core core_;
};

void Http2Server::on_head(Http2Stream& stream, BodyStart start) {
  stream.method = stream.request.method;
  if (stream.is_too_large) {
    stream.is_over = true;
    core_.submit_response(stream, plain_answer(431, 0), false);
    core_.consume(stream, stream.unconsumed);
    return;
  }
  events_->request(id_of(stream), std::move(stream.request), start);
}

void Http2Server::on_close(Http2Stream& stream, std::uint32_t error) {
  const bool is_complete = error == NGHTTP2_NO_ERROR && stream.is_end_told && stream.is_ended;
  if (stream.is_head_told && !stream.is_over && !is_complete)
    events_->cancelled(id_of(stream));
}

void Http2Server::consumed(ExchangeId id, std::size_t bytes) {
  if (Http2Stream* stream = core_.find(id)) {
    core_.consume(*stream, bytes);
    core_.flush();
  }
}

void Http2Server::respond(ExchangeId id, const ResponseHead& head, BodyStart start) {
  Http2Stream* stream = open(id);
  if (stream == nullptr || stream->has_answer)
    return;
  if (!is_valid(head) || head.status < 200) {  // 101 has no meaning here (RFC 9113 §8.6)
    constexpr std::string_view kText = "The answer cannot be written as HTTP/2.\n";
    return respond(id, plain_answer(502, kText.size()), {as_bytes(kText), true});
  }
  const bool may_have_body = !is_bodiless(stream->method, head.status);
  const bool has_body = may_have_body && !(start.is_end && start.bytes.empty());
  core_.submit_response(*stream, head, has_body);
  if (has_body) {
    core_.add_body(*stream, start.bytes);
    if (start.is_end)
      core_.end_body(*stream, {});
  }
  finish_answer(*stream);
  core_.flush();
}

// Once the answer has ended, what still comes of the request is nobody's: it must not fill the window.
void Http2Server::finish_answer(Http2Stream& stream) {
  if (!stream.is_ended)
    return;
  stream.consumes_itself = true;
  core_.consume(stream, stream.unconsumed);
}

void Http2Server::interim(ExchangeId id, const ResponseHead& head) {
  const Http2Stream* stream = open(id);
  if (stream == nullptr || stream->has_answer || head.status < 100 || head.status > 199 ||
      head.status == 101 || !is_valid(head))
    return;
  core_.submit_interim(*stream, head);
  core_.flush();
}

void Http2Server::body(ExchangeId id, std::span<const std::byte> bytes) {
  Http2Stream* stream = open(id);
  if (stream == nullptr || !stream->has_answer)
    return;
  core_.add_body(*stream, bytes);
  core_.flush();
}

void Http2Server::end(ExchangeId id, const Headers& trailers) {
  Http2Stream* stream = open(id);
  if (stream == nullptr || !stream->has_answer || stream->is_ended)
    return;
  core_.end_body(*stream, are_valid_trailers(trailers) ? trailers : Headers());
  finish_answer(*stream);
  core_.flush();
}

void Http2Server::abort(ExchangeId id) {
  Http2Stream* stream = open(id);
  if (stream == nullptr)
    return;
  core_.reset(*stream, NGHTTP2_INTERNAL_ERROR);
  core_.flush();
}

}  // namespace

std::unique_ptr<ServerSide> make_http2_server(ServerEvents& events, const Limits& limits) {
  return std::make_unique<Http2Server>(events, limits);
}

}  // namespace mirrord::net::http
