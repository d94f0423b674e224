// applets/agent/incoming/stolen_request.h — an HTTP request that a client of the agent answers.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string_view>

#include "applets/agent/incoming/request_handler.h"
#include "applets/agent/incoming/request_messages.h"
#include "net/loop.h"
#include "proto/bytes.h"
#include "proto/tcp.h"

namespace mirrord::agent {

class HttpRequest;
class IncomingClient;

// The request leaves in the form of the client's version, the answer comes in any form. After a 101 both sides send
// Data under the request's connection id. A client of ours is asked to pause when the remote client does not
// take the answer; another one is not listened to meanwhile.
class StolenRequest final : public RequestHandler {
 public:
  StolenRequest(IncomingClient& client, proto::ConnectionId id, HttpRequest& request);
  ~StolenRequest() override;  // gives it up, if it is not over
  StolenRequest(const StolenRequest&) = delete;
  StolenRequest& operator=(const StolenRequest&) = delete;

  // ---- from the remote client
  void start(net::http::BodyStart body) override;
  void body(std::span<const std::byte> bytes) override;
  void body_end(net::http::Headers&& trailers) override;
  void answer_drained() override;

  // ---- from the stealing client
  void take(proto::HttpResponse<proto::Payload>&& response);
  void take(proto::HttpResponse<proto::InternalHttpBody>&& response);
  void take(proto::ChunkedResponse&& response);
  void data(proto::Bytes&& bytes);  // of a tunnel; empty: its end
  void hold(bool is_held);          // the client takes no more of the request for now
  void turned_away();               // it will not answer
  void client_drained();
  void client_gone();

  // For clients that take a request whole only.
  static constexpr std::size_t kWholeCap = 64 << 20;
  // A remote client that takes nothing for so long, while others wait for the same session.
  static constexpr std::chrono::milliseconds kStallLimit{30'000};

 private:
  void send_body(BodyFrames&& frames, bool is_last);
  void account(std::size_t bytes);
  void release();
  void answer(net::http::ResponseHead&& head, proto::InternalHttpBody&& frames, bool is_last);
  void answer_more(proto::InternalHttpBody&& frames, bool is_last);
  void hold_client_if_full();
  void release_client();
  void refuse(std::string_view why);

  IncomingClient* client_;  // null: it is gone
  proto::ConnectionId id_;
  HttpRequest& request_;
  RequestForm form_;
  proto::Bytes whole_;  // of the body, for the whole forms
  std::size_t unconsumed_ = 0;
  bool is_held_ = false;
  bool is_started_ = false;  // the client knows of it
  bool is_tunnel_ = false;
  bool is_answer_ended_ = false;
  bool is_client_paused_ = false;  // by a hint, or by not listening
  std::unique_ptr<net::Timer> stall_;
};

}  // namespace mirrord::agent
