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
#include "proto/daemon_message.h"
#include "proto/tcp.h"

namespace mirrord::agent {

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
  // Another client has taken its place on the port.
  void displaced(proto::Port port, bool by_filter);
  // The port cannot be redirected. The answer to the subscription follows.
  void refused(proto::Port port, const Error& error);
  [[nodiscard]] ClientLink& link() { return link_; }

 private:
  struct Answers {
    std::deque<std::shared_ptr<std::optional<proto::Res<proto::Port>>>> in_order;
  };
  void subscribe(IncomingMode mode, proto::Port port, std::optional<proto::HttpFilter> filter);
  void answer(IncomingMode mode);
  void send(IncomingMode mode, proto::DaemonTcp&& message);
  [[nodiscard]] proto::DaemonTcp announcement(proto::ConnectionId id, const Origin& origin) const;

  ClientLink& link_;
  Incoming* incoming_;
  Answers answers_[2];
  proto::ConnectionId next_stolen_ = 0;
  std::unordered_map<proto::ConnectionId, PassThrough::Copies> copies_;  // of stolen connections
  ConnectionTable stolen_;
  Mirror mirror_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace mirrord::agent
