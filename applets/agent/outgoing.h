// applets/agent/outgoing.h — connections that a client opens from the target: TCP, UDP and UNIX.
#pragma once

#include <deque>
#include <memory>
#include <unordered_map>

#include "applets/agent/client.h"
#include "applets/agent/connection_table.h"
#include "applets/agent/outgoing_connect.h"
#include "proto/outgoing.h"

namespace mirrord::agent {

class Outgoing {
 public:
  explicit Outgoing(ClientLink& link);
  Outgoing(const Outgoing&) = delete;
  Outgoing& operator=(const Outgoing&) = delete;

  void handle(proto::LayerTcpOutgoing&& message);
  void handle(proto::LayerUdpOutgoing&& message);
  void handle(proto::LayerSeqpacket&& message);
  void on_drained() { connections_.on_drained(); }

 private:
  // A legacy connect: answered in the order of the requests.
  struct InOrder {
    std::optional<Connector::Outcome> outcome;
  };
  struct Kind {
    proto::ConnectionId next_id = 0;
    std::deque<std::shared_ptr<InOrder>> in_order;
  };

  Kind& table(SocketKind kind) { return kinds_[static_cast<std::size_t>(kind)]; }
  void connect(SocketKind kind, proto::SocketAddress&& remote,
               std::move_only_function<void(Connector::Outcome)> done);
  void connect_in_order(SocketKind kind, proto::LayerConnect&& request);
  void connect_by_uid(SocketKind kind, proto::LayerConnectV2&& request);
  void answer_in_order(SocketKind kind);
  proto::Res<proto::DaemonConnect> adopt(SocketKind kind, Connector::Outcome&& outcome);
  void write(SocketKind kind, proto::LayerWrite&& request);
  void close(SocketKind kind, proto::ConnectionId id);

  ClientLink& link_;
  Kind kinds_[3];
  std::unordered_map<Connector*, std::unique_ptr<Connector>> connecting_;
  ConnectionTable connections_;
};

}  // namespace mirrord::agent
