// applets/agent/incoming/target_requests.h — HTTP requests that nobody picks, on their way to the target.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "applets/agent/incoming/request_handler.h"
#include "applets/agent/incoming/upstream.h"
#include "net/http/client_stream.h"
#include "proto/bytes.h"
#include "proto/receive_buffer.h"

namespace mirrord::agent {

class HttpRequest;
class TargetRequest;

// Of one client's connection: they share one to the target as they would without us, kept open between them.
class TargetRequests final : public net::http::ClientStream::Owner {
 public:
  // `target_left`: the target has ended a connection on which nothing was under way.
  TargetRequests(net::Loop& loop, proto::ReceiveBuffer& buffer, net::http::Protocol protocol,
                 Upstream upstream, net::Callback target_left);
  ~TargetRequests() override;
  TargetRequests(const TargetRequests&) = delete;
  TargetRequests& operator=(const TargetRequests&) = delete;

  std::unique_ptr<RequestHandler> pass(HttpRequest& request);

 private:
  friend class TargetRequest;

  // Gives the request a connection, now or when there is one.
  void dispatch(TargetRequest& request);
  void forget(TargetRequest& request);
  void connect();
  void connected(Result<Fd> socket);
  void work();

  std::span<std::byte> input_space() override { return buffer_.space(); }
  void is_ready(net::http::ClientStream& stream) override;
  void closing(int /*socket*/) override {}
  void is_over(net::http::ClientStream& stream) override;
  void retire();

  net::Loop& loop_;
  proto::ReceiveBuffer& buffer_;
  net::http::Protocol protocol_;
  const Upstream upstream_;
  net::Callback target_left_;
  std::unique_ptr<UpstreamConnect> connect_;
  std::shared_ptr<net::http::ClientStream> stream_;
  // Not for new requests any more, or ended a moment ago.
  std::vector<std::shared_ptr<net::http::ClientStream>> retired_;
  std::vector<TargetRequest*> waiting_;  // for a connection, oldest first
  bool is_working_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace mirrord::agent
