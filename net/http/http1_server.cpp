// net/http/http1_server.cpp — the server's side of an HTTP/1 connection: one exchange after the other.
//
//   phase      the bytes that come are
//   kHead      a request's head
//   kBody      that request's body
//   kAnswer    kept: the request is complete, its answer is not
//   kTunnel    the tunnel's
//   kClosed    dropped
#include <algorithm>
#include <optional>
#include <utility>

#include "net/http/body_reader.h"
#include "net/http/body_start.h"
#include "net/http/head_parser.h"
#include "net/http/http1_output.h"
#include "net/http/http1_writer.h"
#include "net/http/server_side.h"

namespace mirrord::net::http {

namespace {

// An answer's body up to this size leaves together with its head.
constexpr std::size_t kJoinedBody = 16 * 1024;

class Http1Server final : public ServerSide {
 public:
  Http1Server(ServerEvents& events, const Limits& limits)
      : events_(&events),
        limits_(limits),
        output_([this](std::span<const std::byte> bytes) { events_->output(bytes); },
                limits.queued_bytes),
        parser_(HeadParser::Kind::kRequest, limits_),
        reader_(limits_) {}

  void receive(std::span<const std::byte> bytes) override;
  void receive_end() override;
  void receive_failure() override { close(Close::kBoth); }
  bool wants_input() const override;
  void consumed(ExchangeId id, std::size_t bytes) override;
  void respond(ExchangeId id, const ResponseHead& head, BodyStart start) override;
  void interim(ExchangeId id, const ResponseHead& head) override;
  void body(ExchangeId id, std::span<const std::byte> bytes) override;
  void end(ExchangeId id, const Headers& trailers) override;
  void abort(ExchangeId id) override;
  void shut_down() override;
  void hold_output(bool is_held) override;
  std::size_t queued(ExchangeId id) const override { return is_open(id) ? output_.size() : 0; }
  std::size_t partial_head() const override {
    return phase_ == Phase::kHead ? parser_.size() + kept_.size() : 0;
  }
  std::size_t exchanges() const override { return exchange_ ? 1 : 0; }
  std::string_view violation() const override { return violation_; }

 private:
  enum class Phase { kHead, kBody, kAnswer, kTunnel, kClosed };
  enum class Answer { kNone, kBody, kDone };

  struct Exchange {
    ExchangeId id;
    std::string method;
    Version version;
    bool wants_keep_alive = false;
    bool is_request_done = false;
    Answer answer = Answer::kNone;
    OutputFraming framing;
    std::size_t unconsumed = 0;
  };

  [[nodiscard]] bool is_open(ExchangeId id) const { return exchange_ && exchange_->id == id; }
  void work(std::span<const std::byte>& bytes);
  bool take_head(std::span<const std::byte>& bytes);
  void begin_exchange(RequestHead&& head, const Framing& framing,
                      std::span<const std::byte>& bytes);
  void take_body(std::span<const std::byte>& bytes);
  void end_request(Headers&& trailers);
  void deliver(std::span<const std::byte> bytes);
  void begin_tunnel();
  void end_answer();
  void end_exchange_if_done();
  void go_on();
  void refuse(int status, std::string_view why);
  void close(Close how);
  void notice_wanted_input(bool before);

  ServerEvents* events_;
  Limits limits_;
  Http1Output output_;
  HeadParser parser_;
  BodyReader reader_;
  Phase phase_ = Phase::kHead;
  std::optional<Exchange> exchange_;
  ExchangeId last_id_ = 0;
  std::string kept_;         // bytes whose turn has not come
  bool is_working_ = false;  // work() is running: bytes wait for it
  bool has_input_ended_ = false;
  bool is_shutting_down_ = false;
  std::string_view violation_;
};

void Http1Server::receive(std::span<const std::byte> bytes) {
  if (phase_ == Phase::kClosed || has_input_ended_)
    return;
  if (is_working_ || !kept_.empty()) {
    kept_.append(as_text(bytes));
    return go_on();
  }
  is_working_ = true;
  work(bytes);
  is_working_ = false;
  // A handler may have called receive(): what is left of ours was there before.
  const bool has_more = !kept_.empty();
  if (!bytes.empty() && phase_ != Phase::kClosed)
    kept_.insert(0, as_text(bytes));
  if (has_more)
    go_on();
}

// Works off what was kept, as far as the phase allows.
void Http1Server::go_on() {
  if (is_working_)
    return;
  while (!kept_.empty() && phase_ != Phase::kClosed) {
    const std::string taken = std::exchange(kept_, {});
    std::span<const std::byte> bytes = as_bytes(taken);
    is_working_ = true;
    work(bytes);
    is_working_ = false;
    const bool has_more = !kept_.empty();
    kept_.insert(0, as_text(bytes));
    if (!has_more)
      break;
  }
  if (has_input_ended_ && (phase_ == Phase::kHead || phase_ == Phase::kBody))
    close(Close::kBoth);
}

void Http1Server::work(std::span<const std::byte>& bytes) {
  while (!bytes.empty()) {
    switch (phase_) {
      case Phase::kHead:
        if (!take_head(bytes))
          return;
        break;
      case Phase::kBody:
        take_body(bytes);
        break;
      case Phase::kAnswer:
        return;
      case Phase::kTunnel:
        deliver(std::exchange(bytes, {}));
        break;
      case Phase::kClosed:
        bytes = {};
        break;
    }
  }
}

// False: the head is not complete.
bool Http1Server::take_head(std::span<const std::byte>& bytes) {
  bytes = bytes.subspan(parser_.parse(bytes));
  if (parser_.state() == HeadParser::State::kNeedsMore)
    return false;
  if (parser_.state() == HeadParser::State::kBad) {
    refuse(parser_.error_status(), parser_.error());
    return true;
  }
  RequestHead head = parser_.take_request();
  parser_.restart(HeadParser::Kind::kRequest);
  if (const auto framing = framing_of(head))
    begin_exchange(std::move(head), *framing, bytes);
  else
    refuse(framing.error().status, framing.error().why);
  return true;
}

void Http1Server::begin_exchange(RequestHead&& head, const Framing& framing,
                                 std::span<const std::byte>& bytes) {
  const bool is_persistent = head.version == Version::kHttp11
                                 ? !head.headers.has_token("connection", "close")
                                 : head.headers.has_token("connection", "keep-alive");
  exchange_ = Exchange{.id = ++last_id_,
                       .method = head.method,
                       .version = head.version,
                       .wants_keep_alive = is_persistent && !is_shutting_down_,
                       .framing = {}};
  const ExchangeId id = last_id_;
  phase_ = Phase::kBody;
  reader_.start(framing);

  BodyStartCollector start;
  auto event = BodyReader::Event::kData;
  while (event == BodyReader::Event::kData && start.size() < BodyStartCollector::kMost) {
    std::span<const std::byte> piece;
    event = reader_.next(bytes, piece);
    if (event == BodyReader::Event::kData)
      start.add(piece);
  }
  if (event == BodyReader::Event::kBad) {
    exchange_.reset();
    return refuse(400, reader_.error());
  }
  exchange_->unconsumed = start.size();
  Headers trailers = event == BodyReader::Event::kEnd ? reader_.take_trailers() : Headers();
  const bool is_end = event == BodyReader::Event::kEnd && trailers.empty();
  if (is_end) {
    phase_ = Phase::kAnswer;
    exchange_->is_request_done = true;
  }
  events_->request(id, std::move(head), {start.bytes(), is_end});
  if (is_end || !is_open(id) || phase_ != Phase::kBody)
    return;
  if (event == BodyReader::Event::kEnd)
    end_request(std::move(trailers));
  else if (bytes.empty())
    take_body(bytes);  // the end may be known by now
}

void Http1Server::take_body(std::span<const std::byte>& bytes) {
  std::span<const std::byte> piece;
  switch (reader_.next(bytes, piece)) {
    case BodyReader::Event::kNeedsMore:
      return;
    case BodyReader::Event::kData:
      deliver(piece);
      // The end is told as soon as it is known, not with the next bytes.
      if (phase_ == Phase::kBody && bytes.empty())
        take_body(bytes);
      return;
    case BodyReader::Event::kEnd:
      return end_request(reader_.take_trailers());
    case BodyReader::Event::kBad:
      return refuse(400, reader_.error());
  }
}

void Http1Server::deliver(std::span<const std::byte> bytes) {
  if (exchange_->answer != Answer::kDone)
    exchange_->unconsumed += bytes.size();
  events_->body(exchange_->id, bytes);
}

void Http1Server::end_request(Headers&& trailers) {
  phase_ = Phase::kAnswer;
  exchange_->is_request_done = true;
  const ExchangeId id = exchange_->id;
  events_->body_end(id, std::move(trailers));
  if (is_open(id))
    end_exchange_if_done();
}

void Http1Server::receive_end() {
  if (phase_ == Phase::kClosed || has_input_ended_)
    return;
  has_input_ended_ = true;
  switch (phase_) {
    case Phase::kHead:
      if (partial_head() > 0)
        violation_ = "the client ended the connection within a head";
      return close(Close::kBoth);
    case Phase::kBody:
      violation_ = "the client ended the connection within a body";
      return close(Close::kBoth);
    case Phase::kAnswer:
      return;  // half-closed: it still wants its answers
    case Phase::kTunnel: {
      const ExchangeId id = exchange_->id;
      exchange_->is_request_done = true;
      events_->body_end(id, {});
      if (is_open(id) && exchange_->answer == Answer::kDone)
        close(Close::kBoth);
      return;
    }
    case Phase::kClosed:
      return;
  }
}

bool Http1Server::wants_input() const {
  if (phase_ == Phase::kClosed || has_input_ended_)
    return false;
  if (phase_ == Phase::kAnswer && !kept_.empty())
    return false;
  return !exchange_ || exchange_->unconsumed < limits_.body_bytes;
}

void Http1Server::notice_wanted_input(bool before) {
  if (!before && wants_input())
    events_->input_wanted();
}

void Http1Server::consumed(ExchangeId id, std::size_t bytes) {
  if (!is_open(id))
    return;
  const bool before = wants_input();
  exchange_->unconsumed -= std::min(bytes, exchange_->unconsumed);
  notice_wanted_input(before);
}

void Http1Server::respond(ExchangeId id, const ResponseHead& head, BodyStart start) {
  if (!is_open(id) || exchange_->answer != Answer::kNone)
    return;
  if (!is_valid(head)) {
    constexpr std::string_view kText = "The answer cannot be written: its head is not valid.\n";
    return respond(id, plain_answer(502, kText.size()), {as_bytes(kText), true});
  }
  const bool tunnels = is_tunnel(exchange_->method, head.status);
  std::string text;
  text.reserve(512 + (start.bytes.size() <= kJoinedBody ? start.bytes.size() : 0));
  if (head.status == 101) {
    write_interim_head(text, head);
    exchange_->framing = {OutputFraming::Kind::kUntilClose};
  } else {
    const RequestContext context{exchange_->method, exchange_->version,
                                 exchange_->wants_keep_alive && !is_shutting_down_};
    const auto complete = start.is_end ? std::optional(start.bytes.size()) : std::nullopt;
    const WrittenResponse written = write_response_head(text, head, context, complete);
    exchange_->framing = written.framing;
    exchange_->wants_keep_alive = written.keeps_alive;
  }
  exchange_->answer = Answer::kBody;
  bool is_whole = true;
  if (start.bytes.size() <= kJoinedBody) {
    is_whole = write_body(exchange_->framing, start.bytes,
                          [&](std::span<const std::byte> bytes) { text.append(as_text(bytes)); });
    if (start.is_end && is_whole && !tunnels)
      is_whole = write_body_end(exchange_->framing, {}, text);
    output_.write(as_bytes(text));
    if (is_open(id) && is_whole && start.is_end && !tunnels)
      return end_answer();
  } else {
    output_.write(as_bytes(text));
    body(id, start.bytes);
    if (start.is_end && !tunnels)
      return end(id, {});
  }
  if (!is_whole)
    return abort(id);
  if (tunnels && is_open(id))
    begin_tunnel();
}

// What the client has sent ahead is the tunnel's. A body that is still coming would come first; no client
// sends one with such a request, and none can tell where it ends.
void Http1Server::begin_tunnel() {
  const bool before = wants_input();
  phase_ = Phase::kTunnel;
  exchange_->is_request_done = false;
  exchange_->unconsumed = 0;
  go_on();
  if (has_input_ended_ && exchange_ && !exchange_->is_request_done) {
    has_input_ended_ = false;
    receive_end();
  }
  notice_wanted_input(before);
}

void Http1Server::interim(ExchangeId id, const ResponseHead& head) {
  if (!is_open(id) || exchange_->answer != Answer::kNone ||
      exchange_->version == Version::kHttp10 || head.status < 100 || head.status > 199 ||
      head.status == 101 || !is_valid(head))
    return;
  std::string text;
  write_interim_head(text, head);
  output_.write(as_bytes(text));
}

void Http1Server::body(ExchangeId id, std::span<const std::byte> bytes) {
  if (!is_open(id) || exchange_->answer != Answer::kBody)
    return;
  OutputFraming framing = exchange_->framing;  // a handler of `output` may end the exchange
  const bool is_within = write_body(
      framing, bytes, [this](std::span<const std::byte> piece) { output_.write(piece); });
  if (!is_open(id))
    return;
  exchange_->framing = framing;
  if (!is_within)
    abort(id);
}

void Http1Server::end(ExchangeId id, const Headers& trailers) {
  if (!is_open(id) || exchange_->answer != Answer::kBody)
    return;
  if (phase_ == Phase::kTunnel) {
    exchange_->answer = Answer::kDone;
    return close(exchange_->is_request_done ? Close::kBoth : Close::kSending);
  }
  std::string text;
  const bool is_whole =
      write_body_end(exchange_->framing, are_valid_trailers(trailers) ? trailers : Headers(), text);
  if (!is_whole)
    return abort(id);
  output_.write(as_bytes(text));
  if (is_open(id))
    end_answer();
}

void Http1Server::end_answer() {
  exchange_->answer = Answer::kDone;
  // A request that is still coming has its answer: with "Connection: close" nobody needs the rest.
  if (!exchange_->wants_keep_alive && !exchange_->is_request_done)
    return close(Close::kBoth);
  const bool before = wants_input();
  exchange_->unconsumed = 0;
  notice_wanted_input(before);
  if (exchange_)
    end_exchange_if_done();
}

void Http1Server::end_exchange_if_done() {
  if (!exchange_->is_request_done || exchange_->answer != Answer::kDone)
    return;
  const bool before = wants_input();
  const bool keeps_alive = exchange_->wants_keep_alive && !is_shutting_down_;
  exchange_.reset();
  if (!keeps_alive)
    return close(Close::kBoth);
  phase_ = Phase::kHead;
  go_on();
  notice_wanted_input(before);
}

void Http1Server::abort(ExchangeId id) {
  if (!is_open(id))
    return;
  const bool looks_complete = exchange_->answer == Answer::kBody &&
                              exchange_->framing.kind == OutputFraming::Kind::kUntilClose;
  exchange_.reset();
  close(looks_complete ? Close::kReset : Close::kBoth);
}

void Http1Server::shut_down() {
  is_shutting_down_ = true;
  if (!exchange_ && phase_ == Phase::kHead)
    close(Close::kBoth);
}

void Http1Server::hold_output(bool is_held) {
  if (output_.hold(is_held) && exchange_)
    events_->drained(exchange_->id);
}

// Answers a broken request, unless an answer has begun, and ends the connection.
void Http1Server::refuse(int status, std::string_view why) {
  violation_ = why;
  const bool can_answer = !exchange_ || exchange_->answer == Answer::kNone;
  if (can_answer) {
    const std::string text = std::string(why) + "\n";
    std::string answer;
    (void)write_response_head(answer, plain_answer(status, text.size()),
                              {"GET", Version::kHttp11, false}, text.size());
    output_.write(as_bytes(answer + text));
  }
  close(Close::kBoth);
}

void Http1Server::close(Close how) {
  if (phase_ == Phase::kClosed)
    return;
  if (how == Close::kSending) {
    output_.flush();
    return events_->closed(how);
  }
  phase_ = Phase::kClosed;
  kept_.clear();
  if (how == Close::kBoth)
    output_.flush();
  const auto open = std::exchange(exchange_, std::nullopt);
  const bool is_over = !open || (open->is_request_done && open->answer == Answer::kDone);
  if (!is_over)
    events_->cancelled(open->id);
  events_->closed(how);
}

}  // namespace

std::unique_ptr<ServerSide> make_http1_server(ServerEvents& events, const Limits& limits) {
  return std::make_unique<Http1Server>(events, limits);
}

ResponseHead plain_answer(int status, std::size_t size) {
  return {status,
          std::string(reason_phrase(status)),
          Version::kHttp11,
          {{"Content-Type", "text/plain"}, {"Content-Length", std::to_string(size)}}};
}

}  // namespace mirrord::net::http
