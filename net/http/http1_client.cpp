// net/http/http1_client.cpp — the client's side of an HTTP/1 connection: one exchange after the other.
//
//   phase      the bytes that come are
//   kIdle      unasked for: the connection ends
//   kHead      an answer's head, interim ones included
//   kBody      that answer's body
//   kDone      unasked for: the answer is complete, the request is not
//   kTunnel    the tunnel's
//   kClosed    dropped
#include <algorithm>
#include <optional>
#include <utility>

#include "net/http/body_reader.h"
#include "net/http/body_start.h"
#include "net/http/client_side.h"
#include "net/http/head_parser.h"
#include "net/http/http1_output.h"
#include "net/http/http1_writer.h"

namespace mirrord::net::http {

namespace {

// A request's body up to this size leaves together with its head.
constexpr std::size_t kJoinedBody = 16 * 1024;

class Http1Client final : public ClientSide {
 public:
  Http1Client(ClientEvents& events, const Limits& limits)
      : events_(&events),
        limits_(limits),
        output_([this](std::span<const std::byte> bytes) { events_->output(bytes); },
                limits.queued_bytes),
        parser_(HeadParser::Kind::kResponse, limits_),
        reader_(limits_) {}

  bool can_request() const override { return phase_ == Phase::kIdle && is_reusable_; }
  bool is_reusable() const override { return phase_ != Phase::kClosed && is_reusable_; }
  std::optional<ExchangeId> request(const RequestHead& head, BodyStart start) override;
  void body(ExchangeId id, std::span<const std::byte> bytes) override;
  void end(ExchangeId id, const Headers& trailers) override;
  void cancel(ExchangeId id) override;
  void shut_down() override;
  void receive(std::span<const std::byte> bytes) override;
  void receive_end() override;
  void receive_failure() override { fail("the connection to the server broke"); }
  bool wants_input() const override;
  void consumed(ExchangeId id, std::size_t bytes) override;
  void hold_output(bool is_held) override;
  std::size_t queued(ExchangeId id) const override {
    return is_open(id) ? output_.size() + early_.size() : 0;
  }
  std::size_t exchanges() const override { return exchange_ ? 1 : 0; }
  std::string_view violation() const override { return violation_; }

 private:
  enum class Phase { kIdle, kHead, kBody, kDone, kTunnel, kClosed };

  struct Exchange {
    ExchangeId id;
    std::string method;
    bool asks_upgrade = false;
    bool is_request_done = false;
    bool is_answered = false;  // bytes of an answer have come
    OutputFraming framing;
    std::size_t unconsumed = 0;
  };

  [[nodiscard]] bool is_open(ExchangeId id) const { return exchange_ && exchange_->id == id; }
  void work(std::span<const std::byte>& bytes);
  bool take_head(std::span<const std::byte>& bytes);
  void take_final_head(ResponseHead&& head, std::span<const std::byte>& bytes);
  void take_body(std::span<const std::byte>& bytes);
  void begin_tunnel(ResponseHead&& head, std::span<const std::byte>& bytes);
  void end_answer(Headers&& trailers, bool is_told);
  void end_exchange_if_done();
  void break_off(std::string_view why);
  void fail(std::string_view why);
  void close(Close how);

  ClientEvents* events_;
  Limits limits_;
  Http1Output output_;
  HeadParser parser_;
  BodyReader reader_;
  Phase phase_ = Phase::kIdle;
  std::optional<Exchange> exchange_;
  ExchangeId last_id_ = 0;
  std::string kept_;   // the beginning of a line of a head
  std::string early_;  // what is to go through a tunnel that the server has not agreed to yet
  bool is_reusable_ = true;
  bool has_tunnel_ended_ = false;  // the server has finished sending through the tunnel
  std::string_view violation_;
};

std::optional<ExchangeId> Http1Client::request(const RequestHead& head, BodyStart start) {
  if (!can_request() || !is_valid(head))
    return std::nullopt;
  const bool connects = head.method == "CONNECT";
  if (head.version == Version::kHttp10 ? !head.headers.has_token("connection", "keep-alive")
                                       : head.headers.has_token("connection", "close"))
    is_reusable_ = false;
  const ExchangeId id = ++last_id_;
  exchange_ =
      Exchange{.id = id, .method = head.method, .asks_upgrade = asks_upgrade(head), .framing = {}};
  phase_ = Phase::kHead;
  parser_.restart(HeadParser::Kind::kResponse);

  std::string text;
  text.reserve(512 + (start.bytes.size() <= kJoinedBody ? start.bytes.size() : 0));
  const auto complete = start.is_end || connects ? std::optional(start.bytes.size()) : std::nullopt;
  OutputFraming framing = write_request_head(text, head, complete);
  if (connects) {
    early_ = as_text(start.bytes);
    exchange_->is_request_done = true;
    output_.write(as_bytes(text));
    return id;
  }
  bool is_whole = true;
  const bool is_joined = start.bytes.size() <= kJoinedBody;
  if (is_joined) {
    is_whole = write_body(framing, start.bytes,
                          [&](std::span<const std::byte> bytes) { text.append(as_text(bytes)); });
    if (is_whole && start.is_end)
      is_whole = write_body_end(framing, {}, text);
  }
  exchange_->framing = framing;
  exchange_->is_request_done = start.is_end && is_joined && is_whole;
  output_.write(as_bytes(text));
  if (!is_joined) {
    body(id, start.bytes);
    if (start.is_end)
      end(id, {});
  } else if (!is_whole && is_open(id)) {
    fail("the request's body is longer than its length");
  }
  return id;
}

void Http1Client::body(ExchangeId id, std::span<const std::byte> bytes) {
  if (!is_open(id))
    return;
  if (exchange_->method == "CONNECT" && phase_ == Phase::kHead) {
    early_.append(as_text(bytes));
    return;
  }
  if (exchange_->is_request_done)
    return;
  OutputFraming framing = exchange_->framing;
  const bool is_within = write_body(
      framing, bytes, [this](std::span<const std::byte> piece) { output_.write(piece); });
  if (!is_open(id))
    return;
  exchange_->framing = framing;
  if (!is_within)
    fail("the request's body is longer than its length");
}

void Http1Client::end(ExchangeId id, const Headers& trailers) {
  if (!is_open(id) || exchange_->is_request_done)
    return;
  if (phase_ == Phase::kTunnel) {
    exchange_->is_request_done = true;
    return close(Close::kSending);
  }
  std::string text;
  if (!write_body_end(exchange_->framing, are_valid_trailers(trailers) ? trailers : Headers(),
                      text))
    return fail("the request's body is shorter than its length");
  exchange_->is_request_done = true;
  output_.write(as_bytes(text));
  if (is_open(id) && phase_ == Phase::kDone)
    end_exchange_if_done();
}

void Http1Client::cancel(ExchangeId id) {
  if (!is_open(id))
    return;
  exchange_.reset();
  close(Close::kBoth);
}

void Http1Client::shut_down() {
  is_reusable_ = false;
  if (phase_ == Phase::kIdle)
    close(Close::kBoth);
}

void Http1Client::receive(std::span<const std::byte> bytes) {
  if (kept_.empty()) {
    work(bytes);
    kept_.append(as_text(bytes));
    return;
  }
  kept_.append(as_text(bytes));
  const std::string taken = std::exchange(kept_, {});
  bytes = as_bytes(taken);
  work(bytes);
  kept_.append(as_text(bytes));
}

void Http1Client::work(std::span<const std::byte>& bytes) {
  while (!bytes.empty()) {
    switch (phase_) {
      case Phase::kIdle:
      case Phase::kDone:
        // As a server does that gives up an idle connection with a 408; or something that is out of step.
        bytes = {};
        return break_off("the server sent something that nobody asked for");
      case Phase::kHead:
        exchange_->is_answered = true;
        if (!take_head(bytes))
          return;
        break;
      case Phase::kBody:
        take_body(bytes);
        break;
      case Phase::kTunnel: {
        const auto all = std::exchange(bytes, {});
        exchange_->unconsumed += all.size();
        events_->body(exchange_->id, all);
        break;
      }
      case Phase::kClosed:
        bytes = {};
        break;
    }
  }
}

// False: the head is not complete.
bool Http1Client::take_head(std::span<const std::byte>& bytes) {
  bytes = bytes.subspan(parser_.parse(bytes));
  if (parser_.state() == HeadParser::State::kNeedsMore)
    return false;
  if (parser_.state() == HeadParser::State::kBad) {
    break_off(parser_.error());
    return true;
  }
  ResponseHead head = parser_.take_response();
  parser_.restart(HeadParser::Kind::kResponse);
  if (head.status == 101 && !exchange_->asks_upgrade)
    break_off("the server changed the protocol without being asked to");
  else if (is_tunnel(exchange_->method, head.status))
    begin_tunnel(std::move(head), bytes);
  else if (head.status < 200)
    events_->interim(exchange_->id, std::move(head));
  else
    take_final_head(std::move(head), bytes);
  return true;
}

void Http1Client::take_final_head(ResponseHead&& head, std::span<const std::byte>& bytes) {
  const auto framing = framing_of(head, exchange_->method);
  if (!framing)
    return break_off(framing.error().why);
  const bool is_persistent = head.version == Version::kHttp11
                                 ? !head.headers.has_token("connection", "close")
                                 : head.headers.has_token("connection", "keep-alive");
  is_reusable_ = is_reusable_ && is_persistent && framing->kind != Framing::Kind::kUntilClose;
  reader_.start(*framing);
  phase_ = Phase::kBody;

  BodyStartCollector start;
  auto event = BodyReader::Event::kData;
  while (event == BodyReader::Event::kData && start.size() < BodyStartCollector::kMost) {
    std::span<const std::byte> piece;
    event = reader_.next(bytes, piece);
    if (event == BodyReader::Event::kData)
      start.add(piece);
  }
  if (event == BodyReader::Event::kBad)
    return break_off(reader_.error());
  const ExchangeId id = exchange_->id;
  exchange_->unconsumed = start.size();
  Headers trailers = event == BodyReader::Event::kEnd ? reader_.take_trailers() : Headers();
  const bool is_end = event == BodyReader::Event::kEnd && trailers.empty();
  events_->response(id, std::move(head), {start.bytes(), is_end});
  if (!is_open(id) || phase_ != Phase::kBody)
    return;
  if (event == BodyReader::Event::kEnd)
    end_answer(std::move(trailers), !is_end);
  else if (bytes.empty())
    take_body(bytes);  // the end may be known by now
}

void Http1Client::take_body(std::span<const std::byte>& bytes) {
  std::span<const std::byte> piece;
  const ExchangeId id = exchange_->id;
  switch (reader_.next(bytes, piece)) {
    case BodyReader::Event::kNeedsMore:
      return;
    case BodyReader::Event::kData:
      exchange_->unconsumed += piece.size();
      events_->body(id, piece);
      if (is_open(id) && phase_ == Phase::kBody && bytes.empty())
        take_body(bytes);
      return;
    case BodyReader::Event::kEnd:
      return end_answer(reader_.take_trailers(), true);
    case BodyReader::Event::kBad:
      return break_off(reader_.error());
  }
}

void Http1Client::begin_tunnel(ResponseHead&& head, std::span<const std::byte>& bytes) {
  const ExchangeId id = exchange_->id;
  phase_ = Phase::kTunnel;
  is_reusable_ = false;
  exchange_->is_request_done = false;
  exchange_->framing = {OutputFraming::Kind::kUntilClose};
  exchange_->unconsumed = bytes.size();
  const std::string early = std::exchange(early_, {});
  output_.write(as_bytes(early));
  if (is_open(id))
    events_->response(id, std::move(head), {std::exchange(bytes, {}), false});
}

// `is_told`: the end has not been told with the head.
void Http1Client::end_answer(Headers&& trailers, bool is_told) {
  const ExchangeId id = exchange_->id;
  phase_ = Phase::kDone;
  if (is_told)
    events_->body_end(id, std::move(trailers));
  if (is_open(id) && phase_ == Phase::kDone)
    end_exchange_if_done();
}

void Http1Client::end_exchange_if_done() {
  // A server that closes after its answer does not want the rest of the request.
  if (!is_reusable_) {
    exchange_.reset();
    return close(Close::kBoth);
  }
  if (!exchange_->is_request_done)
    return;
  const bool wanted = wants_input();
  exchange_.reset();
  phase_ = Phase::kIdle;
  if (!wanted)
    events_->input_wanted();
  if (can_request())
    events_->ready();
}

void Http1Client::receive_end() {
  switch (phase_) {
    case Phase::kIdle:
      is_reusable_ = false;
      return close(Close::kBoth);
    case Phase::kHead:
      return fail(exchange_->is_answered ? "the server ended the connection within a head"
                                         : "the server ended the connection before it answered");
    case Phase::kBody:
      if (!reader_.ends_with_transport())
        return fail("the server ended the connection within a body");
      is_reusable_ = false;
      return end_answer({}, true);
    case Phase::kDone:
      is_reusable_ = false;
      return end_exchange_if_done();
    case Phase::kTunnel: {
      const ExchangeId id = exchange_->id;
      const bool is_sent = exchange_->is_request_done;
      events_->body_end(id, {});
      if (is_open(id) && (is_sent || exchange_->is_request_done)) {
        exchange_.reset();
        close(Close::kBoth);
      } else if (is_open(id)) {
        has_tunnel_ended_ = true;
      }
      return;
    }
    case Phase::kClosed:
      return;
  }
}

bool Http1Client::wants_input() const {
  return phase_ != Phase::kClosed && !has_tunnel_ended_ &&
         (!exchange_ || exchange_->unconsumed < limits_.body_bytes);
}

void Http1Client::consumed(ExchangeId id, std::size_t bytes) {
  if (!is_open(id))
    return;
  const bool before = wants_input();
  exchange_->unconsumed -= std::min(bytes, exchange_->unconsumed);
  if (!before && wants_input())
    events_->input_wanted();
}

void Http1Client::hold_output(bool is_held) {
  if (output_.hold(is_held) && exchange_)
    events_->drained(exchange_->id);
}

// The server broke the protocol.
void Http1Client::break_off(std::string_view why) {
  violation_ = why;
  fail(why);
}

void Http1Client::fail(std::string_view why) {
  const auto open = std::exchange(exchange_, std::nullopt);
  if (open && phase_ != Phase::kDone)
    events_->failed(open->id, {std::string(why), false, !open->is_answered});
  close(Close::kBoth);
}

void Http1Client::close(Close how) {
  if (phase_ == Phase::kClosed)
    return;
  if (how == Close::kSending) {
    output_.flush();
    if (!has_tunnel_ended_)
      return events_->closed(how);
    exchange_.reset();
    how = Close::kBoth;
  }
  phase_ = Phase::kClosed;
  is_reusable_ = false;
  kept_.clear();
  early_.clear();
  if (how == Close::kBoth)
    output_.flush();
  events_->closed(how);
}

}  // namespace

std::unique_ptr<ClientSide> make_http1_client(ClientEvents& events, const Limits& limits) {
  return std::make_unique<Http1Client>(events, limits);
}

}  // namespace mirrord::net::http
