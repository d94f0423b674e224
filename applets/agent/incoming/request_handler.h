// applets/agent/incoming/request_handler.h — who answers one HTTP request: a stealing client or the target.
#pragma once

#include <span>

#include "net/http/message.h"

namespace mirrord::agent {

// Gets the request from an HttpRequest, and answers through it, now or later. Destroying it gives up what has not
// ended. Every call may end the request; then the handler lives on until the loop's next turn.
class RequestHandler {
 public:
  virtual ~RequestHandler() = default;
  // Once, first: what there is of the body. Report with HttpRequest::consumed what has gone on.
  virtual void start(net::http::BodyStart body) = 0;
  // More of the body; after the head of a tunnel's answer, bytes of the tunnel.
  virtual void body(std::span<const std::byte> bytes) = 0;
  virtual void body_end(net::http::Headers&& trailers) = 0;
  // HttpRequest::is_answer_full() is no longer true.
  virtual void answer_drained() = 0;
};

}  // namespace mirrord::agent
