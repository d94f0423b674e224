// applets/agent/incoming/client_part.h — incoming traffic of one client: its messages, its
// connections, its copies.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "applets/agent/client.h"
#include "applets/agent/connection_table.h"
#include "applets/agent/incoming/incoming.h"
#include "applets/agent/incoming/mirror.h"
#include "applets/agent/incoming/origin.h"
#include "applets/agent/incoming/pass_through.h"
#include "applets/agent/incoming/request_handler.h"
#include "applets/agent/incoming/request_messages.h"
#include "net/http/message.h"
#include "proto/daemon_message.h"
#include "proto/tcp.h"

namespace mirrord::agent {

class HttpRequest;
class StolenRequest;

class IncomingClient {
 public:
  // Without `incoming` every subscription is refused.
  IncomingClient(ClientLink& link, Incoming* incoming);
  ~IncomingClient();
  IncomingClient(const IncomingClient&) = delete;
  IncomingClient& operator=(const IncomingClient&) = delete;

  // ---- from the session

  void handle(proto::LayerTcp&& message);
  void handle(proto::LayerTcpSteal&& message);
  void on_drained();
  // The client has gone, or is told to: its connections end at once, its ports are free.
  void leave();

  // ---- from Incoming

  void steal(Fd socket, const Origin& origin, PassThrough::Copies copies);
  // A copy of a connection, announced to the client.
  std::unique_ptr<MirrorCopy> mirror(const Origin& origin);
  // HTTP requests may be given to it though its subscription has no filter.
  [[nodiscard]] bool takes_unfiltered_requests() const;
  // Its version can answer a request of this kind.
  [[nodiscard]] bool takes(const net::http::RequestHead& head, bool is_filtered) const;
  std::unique_ptr<RequestHandler> steal_request(HttpRequest& request);
  // A copy of a request, announced to the client with what there is of its body.
  std::unique_ptr<MirrorCopy> mirror_request(const net::http::RequestHead& head,
                                             const Origin& origin, BodyFrames&& frames,
                                             bool is_last);
  // A filter took too long to decide, and counts as not matching.
  void filter_gave_up(proto::Port port);
  // It steals a whole port that the kubelet probes.
  void takes_probes(proto::Port port);
  // Another client has taken its place on the port.
  void displaced(proto::Port port, bool by_filter);
  // The port cannot be redirected. The answer to the subscription follows.
  void refused(proto::Port port, const Error& error);
  [[nodiscard]] ClientLink& link() { return link_; }

  // ---- from its stolen requests

  void send_stolen(proto::DaemonTcp&& message) { send(IncomingMode::kSteal, std::move(message)); }
  void wait_for_room(proto::ConnectionId id) { waiting_requests_.push_back(id); }
  void forget_request(proto::ConnectionId id) { requests_.erase(id); }

 private:
  struct Answers {
    std::deque<std::shared_ptr<std::optional<proto::Res<proto::Port>>>> in_order;
  };
  void subscribe(IncomingMode mode, proto::Port port, std::optional<proto::HttpFilter> filter);
  void answer(IncomingMode mode);
  [[nodiscard]] StolenRequest* request(proto::ConnectionId id) const;
  bool take_turn_away(proto::ConnectionId id);
  void send(IncomingMode mode, proto::DaemonTcp&& message);
  [[nodiscard]] proto::DaemonTcp announcement(proto::ConnectionId id, const Origin& origin) const;

  ClientLink& link_;
  Incoming* incoming_;
  Answers answers_[2];
  proto::ConnectionId next_stolen_ = 0;
  std::unordered_map<proto::ConnectionId, PassThrough::Copies> copies_;  // of stolen connections
  ConnectionTable stolen_;
  std::unordered_map<proto::ConnectionId, StolenRequest*> requests_;
  std::vector<proto::ConnectionId> waiting_requests_;  // until the client takes more
  std::uint64_t next_gave_up_warning_ms_ = 0;
  Mirror mirror_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace mirrord::agent
