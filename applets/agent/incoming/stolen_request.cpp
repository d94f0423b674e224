// applets/agent/incoming/stolen_request.cpp — a request to messages, messages to its answer.
#include "applets/agent/incoming/stolen_request.h"

#include <utility>

#include "applets/agent/incoming/client_part.h"
#include "applets/agent/incoming/http_request.h"
#include "applets/http_wire.h"
#include "proto/hints.h"

namespace mirrord::agent {
namespace {

using net::http::BodyStart;
using net::http::Headers;
using net::http::ResponseHead;
using proto::DaemonTcp;

// The pieces of a message's body; trailers come last.
proto::Bytes take_bytes(proto::InternalHttpBody& frames, Headers& trailers) {
  proto::Bytes bytes;
  for (proto::InternalHttpBodyFrame& frame : frames) {
    if (auto* data = frame.get_if<"Data">()) {
      if (bytes.empty())
        bytes = std::move(*data);
      else
        bytes.append(data->span());
    } else {
      trailers = from_wire(frame.get<"Trailers">());
    }
  }
  return bytes;
}

template <class Body>
ResponseHead head_of(const proto::InternalHttpResponse<Body>& response) {
  return response_head(response.status, response.version, response.headers);
}

}  // namespace

StolenRequest::StolenRequest(IncomingClient& client, proto::ConnectionId id, HttpRequest& request)
    : client_(&client), id_(id), request_(request), form_(request_form(client.link().version())) {}

StolenRequest::~StolenRequest() {
  release_client();
  if (client_ == nullptr)
    return;
  // Both know the end of an exchange that is complete; anything else has to be said.
  const bool is_told = is_answer_ended_ && request_.is_over() && !is_tunnel_;
  if (is_started_ && !is_told)
    client_->send_stolen(DaemonTcp::make<"Close">(id_));
  client_->forget_request(id_);
}

// ---- from the remote client

void StolenRequest::start(BodyStart body) {
  if (!body.is_end && body.bytes.empty())
    request_.say_continue();  // nobody else would: the wire has no word for it
  if (form_ == RequestForm::kFramed || form_ == RequestForm::kFlat) {
    whole_.append(body.bytes);
    request_.consumed(body.bytes.size());
    if (body.is_end)
      body_end({});
    return;
  }
  is_started_ = true;
  client_->send_stolen(request_start(form_, id_, request_.head(), request_.origin(),
                                     body_frames(proto::Bytes(body.bytes), {}), body.is_end));
  // The first form's head does not say whether more follows.
  if (form_ == RequestForm::kChunkedV1 && body.is_end)
    send_body({}, true);
  account(body.bytes.size());
}

void StolenRequest::body(std::span<const std::byte> bytes) {
  if (client_ == nullptr || is_answer_ended_)
    return request_.consumed(bytes.size());
  if (is_tunnel_) {
    client_->send_stolen(DaemonTcp::make<"Data">(id_, proto::Bytes(bytes)));
  } else if (!is_started_) {
    whole_.append(bytes);
    request_.consumed(bytes.size());
    if (whole_.size() > kWholeCap)
      refuse("the request is too long for the version of the session that picked it");
    return;
  } else {
    send_body(body_frames(proto::Bytes(bytes), {}), false);
  }
  account(bytes.size());
}

void StolenRequest::body_end(Headers&& trailers) {
  if (client_ == nullptr)
    return;
  if (is_tunnel_)
    return client_->send_stolen(DaemonTcp::make<"Data">(id_, proto::Bytes()));
  if (is_started_)
    return send_body(body_frames({}, trailers), true);
  is_started_ = true;
  client_->send_stolen(request_start(form_, id_, request_.head(), request_.origin(),
                                     body_frames(std::exchange(whole_, {}), trailers), true));
}

void StolenRequest::send_body(BodyFrames&& frames, bool is_last) {
  client_->send_stolen(request_more(id_, std::move(frames), is_last));
}

// What has been sent may be more than the client takes: then the remote client waits.
void StolenRequest::account(std::size_t bytes) {
  unconsumed_ += bytes;
  if (is_held_)
    return;
  if (client_ != nullptr && client_->link().is_congested())
    return client_->wait_for_room(id_);
  release();
}

void StolenRequest::release() {
  if (!is_held_ && unconsumed_ > 0)
    request_.consumed(std::exchange(unconsumed_, 0));
}

void StolenRequest::client_drained() {
  release();
}

void StolenRequest::hold(bool is_held) {
  is_held_ = is_held;
  release();
}

// ---- from the stealing client

void StolenRequest::take(proto::HttpResponse<proto::Payload>&& response) {
  proto::InternalHttpBody frames;
  if (auto& body = response.internal_response.body; !body.empty())
    frames.push_back(proto::InternalHttpBodyFrame::make<"Data">(std::move(body)));
  answer(head_of(response.internal_response), std::move(frames), true);
}

void StolenRequest::take(proto::HttpResponse<proto::InternalHttpBody>&& response) {
  answer(head_of(response.internal_response), std::move(response.internal_response.body), true);
}

void StolenRequest::take(proto::ChunkedResponse&& response) {
  using proto::ChunkedResponse;
  switch (response.index()) {
    case ChunkedResponse::index_of<"Start">: {
      auto& inner = response.get<"Start">().internal_response;
      return answer(head_of(inner), std::move(inner.body), false);
    }
    case ChunkedResponse::index_of<"Body">: {
      auto& more = response.get<"Body">();
      return answer_more(std::move(more.frames), more.is_last);
    }
    case ChunkedResponse::index_of<"Error">:
      return refuse("the local program broke its answer off");
  }
}

void StolenRequest::answer(ResponseHead&& head, proto::InternalHttpBody&& frames, bool is_last) {
  if (head.status < 200 && head.status != 101)
    return request_.interim(head);
  Headers trailers;
  const proto::Bytes bytes = take_bytes(frames, trailers);
  is_tunnel_ = head.status == 101;
  is_answer_ended_ = is_last && !is_tunnel_;
  request_.answer(std::move(head), {bytes.span(), is_answer_ended_ && trailers.empty()});
  if (is_answer_ended_ && !trailers.empty())
    request_.answer_end(trailers);
  hold_client_if_full();
}

void StolenRequest::answer_more(proto::InternalHttpBody&& frames, bool is_last) {
  if (is_tunnel_ || is_answer_ended_)
    return;
  Headers trailers;
  const proto::Bytes bytes = take_bytes(frames, trailers);
  request_.answer_body(bytes.span());
  if (is_last) {
    is_answer_ended_ = true;
    request_.answer_end(trailers);
  }
  hold_client_if_full();
}

void StolenRequest::data(proto::Bytes&& bytes) {
  if (!is_tunnel_ || is_answer_ended_)
    return;
  if (bytes.empty()) {
    is_answer_ended_ = true;
    return request_.answer_end({});
  }
  request_.answer_body(bytes.span());
  hold_client_if_full();
}

void StolenRequest::turned_away() {
  // A tunnel whose end has come both ways is closed by either side.
  if (!is_answer_ended_)
    refuse("the session that picked this request gave it up");
}

void StolenRequest::client_gone() {
  release_client();
  client_ = nullptr;
  is_held_ = false;
  release();
  if (!is_answer_ended_)
    refuse("the session that picked this request is gone");
}

void StolenRequest::refuse(std::string_view why) {
  is_answer_ended_ = true;
  request_.fail(why);
}

// ---- a remote client that is slower than the session

void StolenRequest::hold_client_if_full() {
  if (client_ == nullptr || is_client_paused_ || request_.is_over() || !request_.is_answer_full())
    return;
  is_client_paused_ = true;
  if (client_->link().speaks_flight()) {
    client_->send_stolen(DaemonTcp::make<"Close">(proto::with_hint(proto::Hint::kPause, id_)));
    return;
  }
  client_->link().hold_input();
  stall_ = std::make_unique<net::Timer>(client_->link().loop());
  stall_->start(kStallLimit, [this] { refuse("the remote client takes no more of the answer"); });
}

void StolenRequest::release_client() {
  if (client_ == nullptr || !std::exchange(is_client_paused_, false))
    return;
  if (std::exchange(stall_, nullptr))
    client_->link().release_input();
  else if (!is_answer_ended_)
    client_->send_stolen(DaemonTcp::make<"Close">(proto::with_hint(proto::Hint::kResume, id_)));
}

void StolenRequest::answer_drained() {
  release_client();
}

}  // namespace mirrord::agent
