// applets/agent/incoming/target_requests.cpp — passes requests on, and the target's answers back.
#include "applets/agent/incoming/target_requests.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "applets/agent/incoming/http_request.h"
#include "net/http/limits.h"

namespace mirrord::agent {

using net::http::BodyStart;
using net::http::ClientStream;
using net::http::Failure;
using net::http::Headers;
using net::http::ResponseHead;

namespace {

constexpr std::size_t kQueueMark = net::http::Limits{}.queued_bytes;

// RFC 9110 §9.2.2: doing it twice does what doing it once does.
bool is_idempotent(std::string_view method) {
  constexpr std::array<std::string_view, 6> kMethods{"GET",   "HEAD", "OPTIONS",
                                                     "TRACE", "PUT",  "DELETE"};
  return std::ranges::find(kMethods, method) != kMethods.end();
}

}  // namespace

class TargetRequest final : public RequestHandler, public ClientStream::User {
 public:
  TargetRequest(TargetRequests& hub, HttpRequest& request) : hub_(hub), request_(request) {}
  ~TargetRequest() override;
  TargetRequest(const TargetRequest&) = delete;
  TargetRequest& operator=(const TargetRequest&) = delete;

  // ---- from the remote client
  void start(BodyStart start) override;
  void body(std::span<const std::byte> bytes) override;
  void body_end(Headers&& trailers) override;
  void answer_drained() override;

  // ---- from the hub
  void send(const std::shared_ptr<ClientStream>& stream);
  void fail(std::string_view why) { request_.fail(why); }

 private:
  enum class State { kWaiting, kSent, kGone };

  // ---- from the target
  void interim(ResponseHead&& head) override { request_.interim(head); }
  void answer(ResponseHead&& head, BodyStart start) override;
  void answer_body(std::span<const std::byte> bytes) override;
  void answer_end(Headers&& trailers) override;
  void batch_ended() override {}  // the connection gathers what it writes
  void failed(Failure&& failure) override;
  void drained() override { release_body(); }
  void connection_closed() override;

  void forget_replay();
  void release_body();
  void account(std::size_t bytes);

  TargetRequests& hub_;
  HttpRequest& request_;
  State state_ = State::kWaiting;
  std::shared_ptr<ClientStream> stream_;
  net::http::ExchangeId exchange_ = 0;
  proto::Bytes kept_;  // until it is sent; then as long as it may have to be sent again
  Headers trailers_;
  bool is_complete_ = false;
  bool has_answer_ended_ = false;
  bool may_be_repeated_ = false;
  int attempts_ = 0;
  std::size_t unreleased_ = 0;  // of the body, not yet consumed for the remote client
  std::size_t unconsumed_ = 0;  // of the answer, not yet consumed for the target
};

TargetRequest::~TargetRequest() {
  hub_.forget(*this);
  if (stream_)
    stream_->leave(exchange_);
}

// ---- from the remote client

void TargetRequest::start(BodyStart start) {
  kept_.append(start.bytes);
  unreleased_ = start.bytes.size();
  is_complete_ = start.is_end;
  hub_.dispatch(*this);
}

void TargetRequest::send(const std::shared_ptr<ClientStream>& stream) {
  const int attempt = ++attempts_;
  // One that was in use before may be ending at this moment: then the target has not seen the request.
  may_be_repeated_ = stream->was_used() && attempt == 1;
  state_ = State::kSent;
  stream_ = stream;
  const bool is_whole = is_complete_ && trailers_.empty();
  const auto id = stream->request(*this, request_.head(), {kept_.span(), is_whole});
  if (request_.is_over() || state_ != State::kSent || attempt != attempts_)
    return;  // failed already, and perhaps went another way
  if (!id) {
    stream_.reset();
    return request_.fail("the request cannot be written as it is");
  }
  exchange_ = *id;
  if (is_complete_ && !is_whole)
    stream->end(exchange_, trailers_);
  if (!may_be_repeated_)
    forget_replay();
  release_body();
}

void TargetRequest::body(std::span<const std::byte> bytes) {
  unreleased_ += bytes.size();
  if (state_ == State::kWaiting) {
    kept_.append(bytes);  // as much as the connection takes without being told that it is consumed
    return;
  }
  if (stream_) {
    forget_replay();
    stream_->body(exchange_, bytes);
  }
  release_body();
}

void TargetRequest::body_end(Headers&& trailers) {
  is_complete_ = true;
  if (state_ == State::kWaiting)
    trailers_ = std::move(trailers);
  else if (stream_)
    stream_->end(exchange_, trailers);
}

void TargetRequest::answer_drained() {
  account(0);
}

void TargetRequest::forget_replay() {
  may_be_repeated_ = false;
  kept_ = {};
}

void TargetRequest::release_body() {
  if (unreleased_ > 0 && (!stream_ || stream_->queued(exchange_) <= kQueueMark))
    request_.consumed(std::exchange(unreleased_, 0));
}

// ---- from the target

void TargetRequest::answer(ResponseHead&& head, BodyStart start) {
  forget_replay();
  has_answer_ended_ = start.is_end;
  request_.answer(std::move(head), start);
  account(start.bytes.size());
}

void TargetRequest::answer_body(std::span<const std::byte> bytes) {
  request_.answer_body(bytes);
  account(bytes.size());
}

void TargetRequest::answer_end(Headers&& trailers) {
  has_answer_ended_ = true;
  request_.answer_end(trailers);
}

void TargetRequest::account(std::size_t bytes) {
  unconsumed_ += bytes;
  if (unconsumed_ > 0 && stream_ && !request_.is_answer_full())
    stream_->consumed(exchange_, std::exchange(unconsumed_, 0));
}

void TargetRequest::failed(Failure&& failure) {
  stream_.reset();
  if (may_be_repeated_ && !request_.is_answered() &&
      (failure.is_refused || (failure.is_unanswered && is_idempotent(request_.head().method)))) {
    state_ = State::kWaiting;
    return hub_.dispatch(*this);
  }
  state_ = State::kGone;
  request_.fail("the target: " + failure.why);
}

// The answer is complete, or it was a tunnel. Of the request the rest is of no use to anybody.
void TargetRequest::connection_closed() {
  stream_.reset();
  state_ = State::kGone;
  if (!std::exchange(has_answer_ended_, true))
    request_.answer_end({});
  release_body();
}

// ---- the connections

TargetRequests::TargetRequests(net::Loop& loop, proto::ReceiveBuffer& buffer,
                               net::http::Protocol protocol, Upstream upstream,
                               net::Callback target_left)
    : loop_(loop),
      buffer_(buffer),
      protocol_(protocol),
      upstream_(std::move(upstream)),
      target_left_(std::move(target_left)) {}

TargetRequests::~TargetRequests() {
  *alive_ = false;
}

std::unique_ptr<RequestHandler> TargetRequests::pass(HttpRequest& request) {
  return std::make_unique<TargetRequest>(*this, request);
}

void TargetRequests::dispatch(TargetRequest& request) {
  waiting_.push_back(&request);
  work();
}

void TargetRequests::forget(TargetRequest& request) {
  std::erase(waiting_, &request);
}

void TargetRequests::work() {
  if (std::exchange(is_working_, true))
    return;
  while (!waiting_.empty() && !connect_) {
    if (stream_ && (!stream_->is_reusable() ||
                    (stream_->is_idle() && stream_->was_used() && !stream_->is_still_open())))
      retire();
    if (!stream_) {
      connect();
      continue;
    }
    if (!stream_->can_request())
      break;  // is_ready() comes
    TargetRequest* request = waiting_.front();
    waiting_.erase(waiting_.begin());
    request->send(stream_);
  }
  is_working_ = false;
}

void TargetRequests::connect() {
  connect_ = std::make_unique<UpstreamConnect>(loop_, upstream_);
  auto outcome = connect_->start([this](Result<Fd> late) { connected(std::move(late)); });
  if (outcome)
    connected(std::move(*outcome));
}

void TargetRequests::connected(Result<Fd> socket) {
  connect_.reset();
  if (!socket) {
    for (TargetRequest* request : std::exchange(waiting_, {}))
      request->fail(socket.error().what);
    return;
  }
  stream_ = std::make_shared<ClientStream>(loop_, *this, std::move(*socket), protocol_,
                                           upstream_.destination);
  stream_->start();
  work();
}

void TargetRequests::is_ready(ClientStream& stream) {
  if (&stream == stream_.get())
    work();
}

// What is under way on it ends there.
void TargetRequests::retire() {
  retired_.push_back(std::move(stream_));
}

void TargetRequests::is_over(ClientStream& stream) {
  const bool was_current = &stream == stream_.get();
  if (was_current)
    retire();
  loop_.defer([this, over = &stream, alive = alive_] {
    if (*alive)
      std::erase_if(retired_, [&](const auto& one) { return one.get() == over; });
  });
  if (!waiting_.empty())
    work();
  else if (was_current)
    target_left_();
}

}  // namespace mirrord::agent
