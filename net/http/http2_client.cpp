// net/http/http2_client.cpp — the client's side of an HTTP/2 connection: streams as exchanges.
#include <nghttp2/nghttp2.h>

#include <optional>
#include <string>
#include <utility>

#include "net/http/client_side.h"
#include "net/http/http2_core.h"

namespace mirrord::net::http {

namespace {

class Http2Client final : public ClientSide, private Http2Owner {
 public:
  Http2Client(ClientEvents& events, const Limits& limits)
      : events_(&events), core_(Http2Core::Role::kClient, *this, limits) {}

  bool can_request() const override { return core_.may_request(); }
  bool is_reusable() const override { return !core_.is_closed() && core_.takes_requests(); }
  std::optional<ExchangeId> request(const RequestHead& head, BodyStart start) override;
  void body(ExchangeId id, std::span<const std::byte> bytes) override;
  void end(ExchangeId id, const Headers& trailers) override;
  void cancel(ExchangeId id) override;
  void shut_down() override {
    core_.shut_down();
    core_.flush();
  }
  void receive(std::span<const std::byte> bytes) override;
  void receive_end() override { fail("the server ended the connection"); }
  void receive_failure() override { fail("the connection to the server broke"); }
  bool wants_input() const override { return !core_.is_closed(); }
  void consumed(ExchangeId id, std::size_t bytes) override;
  void hold_output(bool is_held) override { core_.hold_output(is_held); }
  std::size_t queued(ExchangeId id) const override {
    const Http2Stream* stream = core_.find(id);
    return stream == nullptr ? 0 : stream->queued();
  }
  std::size_t exchanges() const override { return core_.size(); }
  std::string_view violation() const override { return core_.violation(); }

 private:
  void on_head(Http2Stream& stream, BodyStart start) override;
  void on_interim(Http2Stream& stream) override {
    if (!stream.is_over)
      events_->interim(id_of(stream), std::move(stream.response));
  }
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
  Http2Stream* open(ExchangeId id) {
    Http2Stream* stream = core_.find(id);
    return stream == nullptr || stream->is_over ? nullptr : stream;
  }
  void fail(std::string_view why) {
    transport_error_ = why;
    core_.fail(why);
  }
  void flush();

  ClientEvents* events_;
  bool was_full_ = false;  // `ready` is owed when another exchange fits
  std::string transport_error_;
  Http2Core core_;
};

std::optional<ExchangeId> Http2Client::request(const RequestHead& head, BodyStart start) {
  if (!can_request() || !is_valid(head))
    return std::nullopt;
  // A CONNECT's body is the tunnel: it has not ended because HTTP/1 says that there is none.
  const bool connects = head.method == "CONNECT";
  const bool is_end = start.is_end && !connects;
  Http2Stream* stream = core_.submit_request(head, !(is_end && start.bytes.empty()));
  if (stream == nullptr)
    return std::nullopt;
  const ExchangeId id = id_of(*stream);
  core_.add_body(*stream, start.bytes);
  if (is_end)
    core_.end_body(*stream, {});
  flush();
  return id;
}

void Http2Client::body(ExchangeId id, std::span<const std::byte> bytes) {
  Http2Stream* stream = open(id);
  if (stream == nullptr)
    return;
  core_.add_body(*stream, bytes);
  flush();
}

void Http2Client::end(ExchangeId id, const Headers& trailers) {
  Http2Stream* stream = open(id);
  if (stream == nullptr)
    return;
  core_.end_body(*stream, are_valid_trailers(trailers) ? trailers : Headers());
  flush();
}

void Http2Client::cancel(ExchangeId id) {
  Http2Stream* stream = open(id);
  if (stream == nullptr)
    return;
  core_.reset(*stream, NGHTTP2_CANCEL);
  flush();
}

void Http2Client::receive(std::span<const std::byte> bytes) {
  core_.receive(bytes);
  flush();
}

void Http2Client::flush() {
  core_.flush();
  if (!can_request())
    was_full_ = true;
  else if (std::exchange(was_full_, false))
    events_->ready();
}

void Http2Client::consumed(ExchangeId id, std::size_t bytes) {
  if (Http2Stream* stream = core_.find(id)) {
    core_.consume(*stream, bytes);
    flush();
  }
}

void Http2Client::on_head(Http2Stream& stream, BodyStart start) {
  if (stream.is_too_large) {
    core_.reset(stream, NGHTTP2_CANCEL);
    events_->failed(id_of(stream), {"the head of the server's answer is too long", false, false});
    return;
  }
  events_->response(id_of(stream), std::move(stream.response), start);
}

void Http2Client::on_close(Http2Stream& stream, std::uint32_t error) {
  // An answer that is complete stays so, whatever became of the request.
  if (stream.is_over || stream.is_end_told)
    return;
  const bool is_refused = error == NGHTTP2_REFUSED_STREAM;
  std::string why = transport_error_;
  if (why.empty())
    why = is_refused
              ? "the server refused the request"
              : std::string("the server reset the request: ") + nghttp2_http2_strerror(error);
  events_->failed(id_of(stream), {std::move(why), is_refused, !stream.is_head_told});
}

}  // namespace

std::unique_ptr<ClientSide> make_http2_client(ClientEvents& events, const Limits& limits) {
  return std::make_unique<Http2Client>(events, limits);
}

}  // namespace mirrord::net::http
