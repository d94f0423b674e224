// applets/intproxy/http_exchange.cpp — the ways of one request: sent, sent again, answered, refused, left.
#include "applets/intproxy/http_exchange.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "applets/http_wire.h"
#include "applets/intproxy/http_delivery.h"
#include "applets/intproxy/subscription.h"
#include "net/http/limits.h"

namespace mirrord::intproxy {
namespace {

using net::http::BodyStart;
using net::http::Failure;
using net::http::Headers;
using net::http::ResponseHead;
using proto::LayerTcpSteal;
using Kind = AgentLink::Outgoing;

constexpr std::size_t kQueueMark = net::http::Limits{}.queued_bytes;

// RFC 9110 §9.2.2: doing it twice does what doing it once does.
bool is_idempotent(std::string_view method) {
  constexpr std::array<std::string_view, 6> kMethods{"GET",   "HEAD", "OPTIONS",
                                                     "TRACE", "PUT",  "DELETE"};
  return std::ranges::find(kMethods, method) != kMethods.end();
}

// HTTP/1 says in its head whether a body follows; a first message of an old agent does not.
bool has_body(const net::http::RequestHead& head) {
  return head.version == net::http::Version::kHttp2 || head.headers.contains("content-length") ||
         head.headers.contains("transfer-encoding");
}

template <class Body>
proto::HttpResponse<Body> respond(const HttpExchange::Request& request, const ResponseHead& head,
                                  Body&& body) {
  proto::HttpResponse<Body> response{};
  response.port = request.port;
  response.connection_id = request.id.connection;
  response.request_id = request.id.request;
  response.internal_response.status = {static_cast<proto::u16>(head.status)};
  response.internal_response.version = to_wire(head.version);
  response.internal_response.headers = to_wire(head.headers);
  response.internal_response.body = std::forward<Body>(body);
  return response;
}

}  // namespace

HttpExchange::HttpExchange(HttpDelivery& hub, Request&& request)
    : hub_(hub), sender_(hub.agent()), request_(std::move(request)) {
  sender_.on_room([this] { release(); });
}

std::size_t HttpExchange::queued_bytes() const {
  return program_ ? program_->queued(exchange_) : 0;
}

// ---- from the agent

void HttpExchange::start(Frames&& frames, bool is_last) {
  if (!request_.head) {
    return refuse(request_.head.error().what);
  }
  if (request_.head->method == "CONNECT") {
    return refuse("CONNECT requests cannot be passed on");
  }
  has_body_ = has_body(*request_.head);
  take_frames(std::move(frames), replay_);
  note_end(is_last);
  dispatch(false);
}

void HttpExchange::take_frames(Frames&& frames, proto::Bytes& bytes) {
  for (proto::InternalHttpBodyFrame& frame : frames) {
    if (auto* data = frame.get_if<"Data">()) {
      if (bytes.empty()) {
        bytes = std::move(*data);
      } else {
        bytes.append(data->span());
      }
    } else {
      trailers_ = from_wire(frame.get<"Trailers">());
    }
  }
}

void HttpExchange::note_end(bool is_last) {
  is_request_complete_ = is_last || (!has_body_ && replay_.empty());
}

void HttpExchange::dispatch(bool is_again) {
  const int attempt = ++attempts_;
  auto program = hub_.program_for(*this, is_again);
  if (!program) {
    return refuse(program.error().what);
  }
  program_ = std::move(*program);
  may_be_repeated_ = program_->was_used() && !is_again;
  const bool is_whole = is_request_complete_ && trailers_.empty();
  const std::size_t size = replay_.size();
  const auto id = program_->request(*this, *request_.head, {replay_.span(), is_whole});
  if (is_over_ || attempt != attempts_) {
    return;  // failed already, and perhaps went another way
  }
  if (!id) {
    return refuse("the request cannot be written as it is");
  }
  exchange_ = *id;
  hub_.queued_more(size);
  if (is_request_complete_ && !is_whole) {
    program_->end(exchange_, trailers_);
  }
  if (!may_be_repeated_ || replay_.size() > kReplayCap) {
    forget_replay();
  }
}

void HttpExchange::more(Frames&& frames, bool is_last) {
  if (is_over_ || is_tunnel_ || is_request_complete_) {
    return;
  }
  proto::Bytes bytes;
  take_frames(std::move(frames), bytes);
  is_request_complete_ = is_last;
  if (may_be_repeated_) {
    replay_.append(bytes.span());
    if (replay_.size() > kReplayCap) {
      forget_replay();
    }
  }
  const std::size_t size = bytes.size();
  if (size > 0) {
    program_->body(exchange_, bytes.span());
  }
  if (is_last && !is_over_) {
    program_->end(exchange_, trailers_);
  }
  hold_agent_if_slow(size);
  finish_if_done();
}

// What has come for the program may be more than it reads.
void HttpExchange::hold_agent_if_slow(std::size_t size) {
  if (is_over_) {
    return;
  }
  const std::size_t queued = program_->queued(exchange_);
  if (queued > kQueueMark && !std::exchange(is_pausing_agent_, true)) {
    send_close(proto::Hint::kPause);
  }
  if (queued > kMirrorCap && request_.id.kind == Kind::kMirrored) {
    hub_.copy_lost();
    return finish();
  }
  hub_.queued_more(size);
}

void HttpExchange::forget_replay() {
  may_be_repeated_ = false;
  replay_ = {};
}

void HttpExchange::data_came(const proto::Bytes& bytes) {
  if (is_over_ || !is_tunnel_ || has_remote_ended_) {
    return;
  }
  if (bytes.empty()) {
    has_remote_ended_ = true;
    return program_->end(exchange_, {});
  }
  program_->body(exchange_, bytes.span());
  hold_agent_if_slow(bytes.size());
}

void HttpExchange::take_close(proto::Hint hint) {
  switch (hint) {
    case proto::Hint::kPause:
      is_paused_by_agent_ = true;
      return;
    case proto::Hint::kResume:
      is_paused_by_agent_ = false;
      batch_ended();
      return release();
    case proto::Hint::kReset:
      return;  // only ever said by a client
    case proto::Hint::kNone:
      break;
  }
  // A program that has a copy may answer for as long as it likes, and one that has got the end of a tunnel
  // gets the rest that is before it.
  const bool is_left_alone =
      is_tunnel_ ? has_remote_ended_ : request_.id.kind == Kind::kMirrored && is_request_complete_;
  if (!is_left_alone) {
    return finish();
  }
  detached_until_ms_ = hub_.now_ms() + (is_tunnel_ ? kLastBytesMs : kCopyMs);
  batch_ended();
  release();
}

void HttpExchange::drop() {
  finish();
}

// ---- from the program

void HttpExchange::answer(ResponseHead&& head, BodyStart start) {
  forget_replay();
  has_answer_ = true;
  is_tunnel_ = head.status == 101;
  is_answer_complete_ = start.is_end;
  answer_ = std::move(head);
  pending_.append(start.bytes);
}

void HttpExchange::answer_body(std::span<const std::byte> bytes) {
  pending_.append(bytes);
}

void HttpExchange::answer_end(Headers&& trailers) {
  if (is_tunnel_) {
    has_program_ended_ = true;
    return;
  }
  is_answer_complete_ = true;
  answer_trailers_ = std::move(trailers);
}

void HttpExchange::batch_ended() {
  if (is_over_ || !has_answer_ || (is_paused_by_agent_ && is_heard())) {
    return;  // little can wait: the program stops when nothing is consumed
  }
  pass_on();
  finish_if_done();
}

void HttpExchange::connection_closed() {
  if (is_over_) {
    return;
  }
  pass_on();
  finish();
}

void HttpExchange::failed(Failure&& failure) {
  if (is_over_) {
    return;
  }
  exchange_ = 0;
  program_.reset();
  if (may_repeat(failure)) {
    return dispatch(true);
  }
  const bool is_http2 = request_.head && request_.head->version == net::http::Version::kHttp2 &&
                        failure.is_unanswered;
  refuse(failure.why + (is_http2 ? "; the request is one of HTTP/2 without TLS" : ""));
}

// A used connection that the server was about to close: it has not seen the request.
bool HttpExchange::may_repeat(const Failure& failure) const {
  return may_be_repeated_ && !has_answer_ &&
         (failure.is_refused || (failure.is_unanswered && is_idempotent(request_.head->method)));
}

void HttpExchange::drained() {
  if (std::exchange(is_pausing_agent_, false)) {
    send_close(proto::Hint::kResume);
  }
}

// ---- to the agent

void HttpExchange::pass_on() {
  const std::size_t size = pending_.size();
  if (!is_heard()) {
    answer_.reset();
    pending_.clear();
    return account(size);
  }
  if (is_tunnel_) {
    if (answer_) {
      const ResponseHead head = *std::exchange(answer_, std::nullopt);
      is_answer_begun_ = true;
      send(hub_.agent().supports(proto::Gate::kHttpFramed)
               ? LayerTcpSteal::make<"HttpResponseFramed">(
                     respond(request_, head, proto::InternalHttpBody()))
               : LayerTcpSteal::make<"HttpResponse">(respond(request_, head, proto::Payload())));
    }
    if (size > 0) {
      send_data(std::exchange(pending_, {}));
    }
    if (has_program_ended_ && !std::exchange(is_end_sent_, true)) {
      send_data({});
    }
    return account(size);
  }
  const bool takes_pieces = hub_.agent().supports(proto::Gate::kHttpChunkedResponse);
  if (answer_ && is_answer_complete_) {
    return send_whole_answer();
  }
  if (takes_pieces) {
    send_piece();
  } else if (size > kWholeAnswerCap) {
    return refuse("the answer is too long for an agent of this version, which takes it whole only");
  }
  account(takes_pieces ? size : size - std::exchange(counted_, size));
}

// It is there at once, or the agent does not know pieces.
void HttpExchange::send_whole_answer() {
  const ResponseHead head = *std::exchange(answer_, std::nullopt);
  is_answer_begun_ = true;
  proto::Bytes bytes = std::exchange(pending_, {});
  if (hub_.agent().supports(proto::Gate::kHttpFramed)) {
    send(LayerTcpSteal::make<"HttpResponseFramed">(
        respond(request_, head, body_frames(std::move(bytes), answer_trailers_))));
  } else {
    send(LayerTcpSteal::make<"HttpResponse">(respond(request_, head, std::move(bytes))));
  }
}

void HttpExchange::send_piece() {
  using proto::ChunkedResponse;
  Frames frames = body_frames(std::exchange(pending_, {}), answer_trailers_);
  if (answer_) {
    const ResponseHead head = *std::exchange(answer_, std::nullopt);
    is_answer_begun_ = true;
    send(LayerTcpSteal::make<"HttpResponseChunked">(
        ChunkedResponse::make<"Start">(respond(request_, head, std::move(frames)))));
  } else if (!frames.empty() || is_answer_complete_) {
    send(LayerTcpSteal::make<"HttpResponseChunked">(ChunkedResponse::make<"Body">(
        std::move(frames), is_answer_complete_, request_.id.connection, request_.id.request)));
  }
}

// Bytes have been taken from the program; it may go on when the agent's queue has room.
void HttpExchange::account(std::size_t bytes) {
  unconsumed_ += bytes;
  if (!is_heard() ||
      (!is_paused_by_agent_ && sender_.queued_bytes() <= AgentLink::Sender::kHighMark)) {
    release();
  }
}

void HttpExchange::release() {
  if (is_over_ || !program_ || (is_paused_by_agent_ && is_heard())) {
    return;
  }
  if (const std::size_t bytes = std::exchange(unconsumed_, 0); bytes > 0) {
    program_->consumed(exchange_, bytes);
  }
}

// The agent gets an answer of our own, or learns that the one it has is not complete.
void HttpExchange::refuse(const std::string& why) {
  if (is_over_) {
    return;
  }
  hub_.warn("a request to port " + std::to_string(request_.port) + " of the target: " + why);
  if (is_tunnel_ && is_answer_begun_) {
    send_close(proto::Hint::kReset);
  } else if (is_answer_begun_) {
    send(LayerTcpSteal::make<"HttpResponseChunked">(
        proto::ChunkedResponse::make<"Error">(request_.id.connection, request_.id.request)));
  } else {
    const std::string text =
        "mirrord: the local program did not answer this request: " + why + "\n";
    ResponseHead head{.status = 502, .reason = {}, .version = {}, .headers = {}};
    head.headers = {{"content-type", "text/plain; charset=utf-8"},
                    {"content-length", std::to_string(text.size())}};
    auto response = respond(request_, head, proto::Payload(std::string_view(text)));
    response.internal_response.version = request_.version;
    send(LayerTcpSteal::make<"HttpResponse">(std::move(response)));
  }
  finish();
}

void HttpExchange::finish_if_done() {
  if (!is_over_ && !is_tunnel_ && is_answer_complete_ && is_request_complete_) {
    finish();
  }
}

void HttpExchange::finish() {
  if (std::exchange(is_over_, true)) {
    return;
  }
  if (program_) {
    program_->leave(exchange_);
  }
  hub_.erase(*this);
}

bool HttpExchange::is_heard() const {
  return request_.id.kind == Kind::kStolen && detached_until_ms_ == 0;
}

void HttpExchange::send(LayerTcpSteal&& message) {
  if (is_heard()) {
    sender_.send(proto::ClientMessage::make<"TcpSteal">(std::move(message)));
  }
}

void HttpExchange::send_data(proto::Bytes&& bytes) {
  send(LayerTcpSteal::make<"Data">(request_.id.connection, std::move(bytes)));
}

// ConnectionUnsubscribe, or a hint in its place; mirrored ones are paused too.
void HttpExchange::send_close(proto::Hint hint) {
  const bool knows_hints = hub_.agent().speaks_flight();
  if (detached_until_ms_ != 0 || (!knows_hints && hint != proto::Hint::kReset)) {
    return;
  }
  const proto::ConnectionId id = request_.id.connection;
  sender_.send(turn_away_message(request_.id.kind, knows_hints ? proto::with_hint(hint, id) : id));
}

}  // namespace mirrord::intproxy
