// applets/agent/incoming/http_connection.h — a remote client's HTTP connection to a port that filters are on.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "applets/agent/incoming/http_request.h"
#include "applets/agent/incoming/incoming.h"
#include "applets/agent/incoming/origin.h"
#include "applets/agent/incoming/pass_through.h"
#include "applets/agent/incoming/target_requests.h"
#include "net/http/server_connection.h"
#include "net/stream.h"
#include "proto/receive_buffer.h"

namespace mirrord::agent {

// The agent is the server here. Each request goes its own way: to the session whose filter picks it, or on to the
// target. Clients that mirror the port without a filter get a copy of the bytes as they come.
class HttpConnection {
 public:
  // `ended` is called once, last, and must not destroy the object before it has returned.
  HttpConnection(net::Loop& loop, Incoming& incoming, proto::ReceiveBuffer& buffer, Fd peer,
                 const Origin& origin, net::http::Protocol protocol, Upstream upstream,
                 PassThrough::Copies copies, net::Callback ended);
  ~HttpConnection();
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  // To be called from time to time: ends what takes too long.
  void tick(std::uint64_t now_ms);

  // After the requests under way the connection ends.
  void shut_down();

  // ---- for requests

  [[nodiscard]] net::Loop& loop() { return loop_; }
  [[nodiscard]] Incoming& incoming() { return incoming_; }
  [[nodiscard]] const Origin& origin() const { return origin_; }
  [[nodiscard]] net::http::ServerConnection& server() { return server_; }
  std::unique_ptr<RequestHandler> pass_on(HttpRequest& request);
  void consumed(net::http::ExchangeId id, std::size_t bytes);
  void finished(HttpRequest& request);
  void settle();  // after calls to server(): back-pressure, both ways

  // Without a request. Long: most clients and proxies end their connections earlier.
  static constexpr std::uint64_t kIdleMs = 600'000;
  // For the client to read what was sent last, once the connection is over.
  static constexpr std::uint64_t kLingerMs = 5'000;

 private:
  void start();
  void received(std::size_t count);
  void begin(net::http::ExchangeId id, net::http::RequestHead&& head, net::http::BodyStart body);
  [[nodiscard]] HttpRequest* find(net::http::ExchangeId id);
  void cancelled(net::http::ExchangeId id);
  void closed(net::http::Close how);
  void bury(
      std::unordered_map<net::http::ExchangeId, std::unique_ptr<HttpRequest>>::iterator place);
  void finish();

  net::Loop& loop_;
  Incoming& incoming_;
  proto::ReceiveBuffer& buffer_;
  std::span<std::byte> space_;  // of `buffer_`, for the read under way
  const Origin origin_;
  PassThrough::Copies copies_;
  std::unique_ptr<net::Stream> stream_;
  net::http::ServerConnection server_;
  TargetRequests target_;
  std::unordered_map<net::http::ExchangeId, std::unique_ptr<HttpRequest>> requests_;
  std::vector<std::unique_ptr<HttpRequest>> buried_;  // until the loop's next turn
  bool is_held_ = false;
  bool is_reading_ = true;
  bool has_input_ended_ = false;
  bool is_closed_ = false;  // only the last bytes leave
  bool is_over_ = false;
  std::uint64_t head_since_ms_ = 0;  // 0: none has begun
  std::uint64_t idle_since_ms_ = 0;  // then: closed since
  net::Callback ended_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace mirrord::agent
