// applets/agent/incoming/http_request.h — one request to the target: who gets it, who gets a copy, and the answer.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "applets/agent/incoming/incoming.h"
#include "applets/agent/incoming/mirror.h"
#include "applets/agent/incoming/origin.h"
#include "applets/agent/incoming/request_handler.h"
#include "net/http/message.h"
#include "net/http/server_connection.h"
#include "net/loop.h"
#include "proto/bytes.h"

namespace mirrord::agent {

class HttpConnection;

class HttpRequest {
 public:
  HttpRequest(HttpConnection& connection, net::http::ExchangeId id, net::http::RequestHead&& head)
      : connection_(connection), id_(id), head_(std::move(head)) {}
  HttpRequest(const HttpRequest&) = delete;
  HttpRequest& operator=(const HttpRequest&) = delete;

  // ---- from the remote client

  void start(net::http::BodyStart body);
  void body(std::span<const std::byte> bytes);
  void body_end(net::http::Headers&& trailers);
  void answer_drained();

  // ---- for the handler

  [[nodiscard]] const net::http::RequestHead& head() const { return head_; }
  [[nodiscard]] net::http::ExchangeId id() const { return id_; }
  [[nodiscard]] const Origin& origin() const;
  // The client may send more of the body.
  void consumed(std::size_t bytes);
  void interim(const net::http::ResponseHead& head);
  // Tells a client that waits for it to send the body. For handlers that have no word for that.
  void say_continue();
  void answer(net::http::ResponseHead&& head, net::http::BodyStart start);
  void answer_body(std::span<const std::byte> bytes);
  void answer_end(const net::http::Headers& trailers);
  // There is no answer, or it cannot be completed: 502 with a line of text, or an answer that is broken off.
  void fail(std::string_view why);
  // So much of the answer waits for the client that the rest should wait elsewhere.
  [[nodiscard]] bool is_answer_full() const;
  [[nodiscard]] bool is_answered() const { return is_answered_; }
  [[nodiscard]] bool is_over() const { return is_over_; }

 private:
  void decide();
  void wait_for_body();
  void give_up_body();
  void hand_over(const Incoming::Choice& choice);
  void finish_if_done();
  void finish();

  HttpConnection& connection_;
  net::http::ExchangeId id_;
  net::http::RequestHead head_;

  // Until it is known who gets the request.
  proto::Bytes kept_;
  net::http::Headers trailers_;
  std::size_t consumed_ahead_ = 0;  // of it the connection knows already
  bool is_body_given_up_ = false;   // for filters: too long, or too slow
  std::unique_ptr<net::Timer> body_deadline_;

  bool is_stolen_ = false;
  std::vector<std::unique_ptr<MirrorCopy>> copies_;
  bool is_request_complete_ = false;
  bool is_answered_ = false;  // its head has gone out
  bool is_answer_complete_ = false;
  bool is_over_ = false;
  std::unique_ptr<RequestHandler> handler_;  // goes first: it looks at the others
};

}  // namespace mirrord::agent
