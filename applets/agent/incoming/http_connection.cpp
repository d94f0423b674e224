// applets/agent/incoming/http_connection.cpp — bytes between the client's socket and the engine, requests to their ways.
#include "applets/agent/incoming/http_connection.h"

#include <utility>

namespace mirrord::agent {

using net::http::BodyStart;
using net::http::Close;
using net::http::ExchangeId;
using net::http::Headers;
using net::http::RequestHead;

HttpConnection::HttpConnection(net::Loop& loop, Incoming& incoming, proto::ReceiveBuffer& buffer,
                               Fd peer, const Origin& origin, net::http::Protocol protocol,
                               Upstream upstream, PassThrough::Copies copies, net::Callback ended)
    : loop_(loop),
      incoming_(incoming),
      buffer_(buffer),
      origin_(origin),
      copies_(std::move(copies)),
      stream_(std::make_unique<net::Stream>(loop, std::move(peer), "the remote client")),
      server_(protocol,
              {
                  .output = [this](std::span<const std::byte> bytes) { stream_->write(bytes); },
                  .request = [this](ExchangeId id, RequestHead&& head,
                                    BodyStart body) { begin(id, std::move(head), body); },
                  .body =
                      [this](ExchangeId id, std::span<const std::byte> bytes) {
                        if (HttpRequest* request = find(id))
                          request->body(bytes);
                        else
                          server_.consumed(id, bytes.size());
                      },
                  .body_end =
                      [this](ExchangeId id, Headers&& trailers) {
                        if (HttpRequest* request = find(id))
                          request->body_end(std::move(trailers));
                      },
                  .cancelled = [this](ExchangeId id) { cancelled(id); },
                  .drained =
                      [this](ExchangeId id) {
                        if (HttpRequest* request = find(id))
                          request->answer_drained();
                      },
                  .input_wanted = [] {},  // settle() looks
                  .closed = [this](Close how) { closed(how); },
              }),
      target_(loop, buffer, protocol, std::move(upstream),
              [this] {
                // The target ends connections that it does not use; so the client's ends too.
                if (requests_.empty() && server_.is_idle())
                  shut_down();
              }),
      idle_since_ms_(loop.now_ms()),
      ended_(std::move(ended)) {
  start();
}

HttpConnection::~HttpConnection() {
  *alive_ = false;
}

void HttpConnection::start() {
  net::Stream::Handlers handlers;
  handlers.buffer = [this] {
    space_ = buffer_.space();
    return net::Stream::Space(space_);
  };
  handlers.received = [this](std::size_t count) { received(count); };
  handlers.ended = [this] {
    has_input_ended_ = true;
    for (const auto& copy : copies_)
      copy->data({});
    if (is_closed_)
      return finish();
    server_.receive_end();
    settle();
  };
  handlers.failed = [this](const Error&) {
    if (!is_closed_)
      server_.receive_failure();
    finish();
  };
  handlers.drained = [this] { settle(); };
  handlers.finished = [this] {
    if (is_closed_ && has_input_ended_)
      finish();
  };
  stream_->start(std::move(handlers));
}

void HttpConnection::received(std::size_t count) {
  if (is_closed_)
    return;  // until the client has read what was sent last
  const std::span<const std::byte> bytes = space_.first(count);
  for (const auto& copy : copies_)
    copy->data(bytes);
  server_.receive(bytes);
  if (server_.partial_head() == 0)
    head_since_ms_ = 0;
  else if (head_since_ms_ == 0)
    head_since_ms_ = loop_.now_ms();
  settle();
}

void HttpConnection::settle() {
  if (is_closed_ || is_over_)
    return;
  const bool is_full = stream_->is_above_high_mark();
  if (is_full != is_held_) {
    is_held_ = is_full;
    server_.hold_output(is_full);
  }
  const bool is_wanted = server_.wants_input() || has_input_ended_;
  if (is_wanted != is_reading_) {
    is_reading_ = is_wanted;
    is_wanted ? stream_->resume_reading() : stream_->pause_reading();
  }
}

// ---- requests

void HttpConnection::begin(ExchangeId id, RequestHead&& head, BodyStart body) {
  auto& request = requests_[id];
  request = std::make_unique<HttpRequest>(*this, id, std::move(head));
  request->start(body);
}

HttpRequest* HttpConnection::find(ExchangeId id) {
  const auto found = requests_.find(id);
  return found == requests_.end() ? nullptr : found->second.get();
}

std::unique_ptr<RequestHandler> HttpConnection::pass_on(HttpRequest& request) {
  return target_.pass(request);
}

void HttpConnection::consumed(ExchangeId id, std::size_t bytes) {
  server_.consumed(id, bytes);
  settle();
}

void HttpConnection::cancelled(ExchangeId id) {
  if (const auto found = requests_.find(id); found != requests_.end())
    bury(found);
}

void HttpConnection::finished(HttpRequest& request) {
  if (const auto found = requests_.find(request.id()); found != requests_.end())
    bury(found);
}

// Its own calls may be running.
void HttpConnection::bury(decltype(requests_)::iterator place) {
  if (buried_.empty()) {
    loop_.defer([this, alive = alive_] {
      if (*alive)
        std::exchange(buried_, {}).clear();
    });
  }
  buried_.push_back(std::move(place->second));
  requests_.erase(place);
  idle_since_ms_ = loop_.now_ms();
}

// ---- ends

void HttpConnection::closed(Close how) {
  if (how == Close::kSending)
    return stream_->finish_writing();
  is_closed_ = true;
  idle_since_ms_ = loop_.now_ms();
  copies_.clear();
  if (how == Close::kReset) {
    stream_->flush();
    stream_->reset_on_close();
    return finish();
  }
  // Closing at once could discard what the client has not read: it has a while to end its half.
  stream_->finish_writing();
  stream_->resume_reading();
  if (has_input_ended_ && stream_->has_finished_writing())
    finish();
}

void HttpConnection::tick(std::uint64_t now_ms) {
  if (is_over_)
    return;
  const auto head_limit = static_cast<std::uint64_t>(incoming_.settings().head_limit.count());
  const bool is_late_head = head_since_ms_ != 0 && now_ms - head_since_ms_ > head_limit;
  const std::uint64_t idle_limit = is_closed_ ? kLingerMs : kIdleMs;
  const bool is_idle = requests_.empty() && now_ms - idle_since_ms_ > idle_limit;
  if (is_closed_ ? is_idle : is_late_head)
    return finish();
  if (is_idle)
    shut_down();
}

void HttpConnection::shut_down() {
  server_.shut_down();
  settle();
}

void HttpConnection::finish() {
  if (!std::exchange(is_over_, true)) {
    copies_.clear();
    ended_();
  }
}

}  // namespace mirrord::agent
