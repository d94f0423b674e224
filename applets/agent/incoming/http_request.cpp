// applets/agent/incoming/http_request.cpp — a request's way: judged, copied, handed over, answered.
#include "applets/agent/incoming/http_request.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "applets/agent/incoming/client_part.h"
#include "applets/agent/incoming/http_connection.h"
#include "applets/agent/incoming/request_messages.h"
#include "applets/http_wire.h"
#include "applets/version.h"
#include "net/http/limits.h"

namespace mirrord::agent {
namespace {

using net::http::BodyStart;
using net::http::Headers;
using net::http::ResponseHead;

std::size_t announced_length(const net::http::RequestHead& head) {
  std::size_t length = 0;
  if (const auto text = head.headers.find("content-length"))
    std::from_chars(text->data(), text->data() + text->size(), length);
  return length;
}

}  // namespace

const Origin& HttpRequest::origin() const {
  return connection_.origin();
}

// ---- from the remote client

void HttpRequest::start(BodyStart body) {
  kept_.append(body.bytes);
  is_request_complete_ = body.is_end;
  decide();
}

void HttpRequest::decide() {
  const std::size_t limit = connection_.incoming().settings().body_limit;
  const bool is_too_long = kept_.size() >= limit || announced_length(head_) > limit;
  is_body_given_up_ = is_body_given_up_ || (!is_request_complete_ && is_too_long) ||
                      (is_request_complete_ && kept_.size() >= limit);
  std::optional<Incoming::Body> body;
  if (is_body_given_up_)
    body.emplace();
  else if (is_request_complete_)
    body.emplace(kept_.span());
  const Incoming::Choice choice =
      connection_.incoming().choose(origin().destination.port, head_, body);
  if (choice.needs_body)
    return wait_for_body();
  hand_over(choice);
}

// Called again when the body is complete, too long, or too late.
void HttpRequest::wait_for_body() {
  if (body_deadline_)
    return;
  say_continue();
  head_.headers.remove("expect");
  consumed_ahead_ = kept_.size();
  connection_.consumed(id_, kept_.size());
  body_deadline_ = std::make_unique<net::Timer>(connection_.loop());
  body_deadline_->start(connection_.incoming().settings().body_timeout, [this] { give_up_body(); });
}

void HttpRequest::give_up_body() {
  is_body_given_up_ = true;
  decide();
  connection_.settle();
}

void HttpRequest::hand_over(const Incoming::Choice& choice) {
  body_deadline_.reset();
  const proto::Bytes kept = std::exchange(kept_, {});
  const Headers trailers = std::exchange(trailers_, {});
  is_stolen_ = choice.stealer != nullptr;
  handler_ = is_stolen_ ? choice.stealer->steal_request(*this) : connection_.pass_on(*this);
  RequestHandler& handler = *handler_;
  handler.start({kept.span(), is_request_complete_ && trailers.empty()});
  if (is_request_complete_ && !trailers.empty() && !is_over_)
    handler.body_end(Headers(trailers));
  // Copies come last: nobody waits for them.
  for (IncomingClient* mirror : choice.mirrors) {
    copies_.push_back(mirror->mirror_request(
        head_, origin(), body_frames(proto::Bytes(kept.span()), trailers), is_request_complete_));
  }
}

void HttpRequest::body(std::span<const std::byte> bytes) {
  if (!handler_) {
    kept_.append(bytes);
    consumed_ahead_ += bytes.size();
    connection_.consumed(id_, bytes.size());
    if (kept_.size() >= connection_.incoming().settings().body_limit)
      give_up_body();
    return;
  }
  for (const auto& copy : copies_)
    copy->send(request_more(copy->id(), body_frames(proto::Bytes(bytes), {}), false), bytes.size());
  handler_->body(bytes);
}

void HttpRequest::body_end(Headers&& trailers) {
  is_request_complete_ = true;
  if (!handler_) {
    trailers_ = std::move(trailers);
    return decide();
  }
  for (const auto& copy : copies_)
    copy->send(request_more(copy->id(), body_frames({}, trailers), true), 0);
  handler_->body_end(std::move(trailers));
  finish_if_done();
}

void HttpRequest::answer_drained() {
  if (handler_)
    handler_->answer_drained();
}

// ---- for the handler

void HttpRequest::consumed(std::size_t bytes) {
  const std::size_t ahead = std::min(bytes, consumed_ahead_);
  consumed_ahead_ -= ahead;
  connection_.consumed(id_, bytes - ahead);
}

void HttpRequest::interim(const ResponseHead& head) {
  connection_.server().interim(id_, head);
}

void HttpRequest::say_continue() {
  if (kept_.empty() && head_.headers.has_token("expect", "100-continue"))
    interim({100, std::string(net::http::reason_phrase(100)), head_.version, {}});
}

void HttpRequest::answer(ResponseHead&& head, BodyStart start) {
  if (is_over_ || is_answered_)
    return;
  is_answered_ = true;
  if (net::http::is_tunnel(head_.method, head.status)) {
    is_request_complete_ = false;  // now both directions begin anew
    copies_.clear();               // a copy of half a conversation is of no use
  } else {
    const IncomingSettings& settings = connection_.incoming().settings();
    if (settings.overrides_cache_control)
      head.headers.set("Cache-Control", "no-cache, no-store, must-revalidate");
    if (settings.injects_headers)
      head.headers.set("Mirrord-Agent", is_stolen_ ? "forwarded-to-client" : "passed-through");
    is_answer_complete_ = start.is_end;
  }
  connection_.server().respond(id_, head, start);
  finish_if_done();
  connection_.settle();
}

void HttpRequest::answer_body(std::span<const std::byte> bytes) {
  if (is_over_ || bytes.empty())
    return;
  connection_.server().body(id_, bytes);
  connection_.settle();
}

void HttpRequest::answer_end(const Headers& trailers) {
  if (is_over_)
    return;
  is_answer_complete_ = true;
  connection_.server().end(id_, trailers);
  finish_if_done();
  connection_.settle();
}

void HttpRequest::fail(std::string_view why) {
  if (is_over_)
    return;
  if (is_answered_) {
    connection_.server().abort(id_);
  } else {
    const std::string text =
        "mirrord-agent v" + std::string(kVersion) + ": " + std::string(why) + "\n";
    ResponseHead head{502, std::string(net::http::reason_phrase(502)), head_.version, {}};
    head.headers = {{"Content-Type", "text/plain; charset=utf-8"},
                    {"Content-Length", std::to_string(text.size())}};
    connection_.server().respond(id_, head, {net::http::as_bytes(text), true});
  }
  finish();
  connection_.settle();
}

bool HttpRequest::is_answer_full() const {
  return connection_.server().queued(id_) > net::http::Limits{}.queued_bytes;
}

void HttpRequest::finish_if_done() {
  if (is_request_complete_ && is_answer_complete_)
    finish();
}

void HttpRequest::finish() {
  if (!std::exchange(is_over_, true)) {
    copies_.clear();
    connection_.finished(*this);
  }
}

}  // namespace mirrord::agent
