// applets/agent/outgoing.cpp — connects, and the messages of the three kinds of connections.
#include "applets/agent/outgoing.h"

#include <string>
#include <utility>

#include "proto/daemon_message.h"

namespace mirrord::agent {

namespace {

std::string name_of(const proto::SocketAddress& address) {
  if (const proto::SockAddr* ip = address.get_if<"Ip">()) {
    return ip->to_string();
  }
  const proto::UnixAddr& unix_address = address.get<"Unix">();
  if (const proto::Path* path = unix_address.get_if<"Pathname">()) {
    return path->value;
  }
  return "an abstract UNIX socket";
}

// Message of any of the three kinds around one payload: the reply cases have the same names.
template <proto::FixedString Case, class... Args>
proto::DaemonMessage wrap(SocketKind kind, Args&&... args) {
  using proto::DaemonMessage;
  switch (kind) {
    case SocketKind::kTcp:
      return DaemonMessage::make<"TcpOutgoing">(
          proto::DaemonTcpOutgoing::make<Case>(std::forward<Args>(args)...));
    case SocketKind::kUdp:
      return DaemonMessage::make<"UdpOutgoing">(
          proto::DaemonUdpOutgoing::make<Case>(std::forward<Args>(args)...));
    case SocketKind::kSeqpacket:
      break;
  }
  return DaemonMessage::make<"SeqpacketOutgoing">(
      proto::DaemonSeqpacket::make<Case>(std::forward<Args>(args)...));
}

}  // namespace

Outgoing::Outgoing(ClientLink& link)
    : link_(link),
      connections_(
          link,
          {
              .data =
                  [this](SocketKind kind, proto::ConnectionId id, proto::Bytes&& bytes) {
                    link_.send(wrap<"Read">(kind, proto::DaemonRead{id, std::move(bytes)}));
                  },
              .close = [this](SocketKind kind,
                              proto::ConnectionId id) { link_.send(wrap<"Close">(kind, id)); },
              .failed =
                  [this](const ClientConnection& connection, const Error& error) {
                    link_.log_info("outgoing connection to " + connection.peer_name() + ": " +
                                   error.what);
                  },
          }) {}

// ---- from the client

void Outgoing::handle(proto::LayerTcpOutgoing&& message) {
  using Message = proto::LayerTcpOutgoing;
  switch (message.index()) {
    case Message::index_of<"Connect">:
      return connect_in_order(SocketKind::kTcp, std::move(message.get<"Connect">()));
    case Message::index_of<"ConnectV2">:
      return connect_by_uid(SocketKind::kTcp, std::move(message.get<"ConnectV2">()));
    case Message::index_of<"Write">:
      return write(SocketKind::kTcp, std::move(message.get<"Write">()));
    case Message::index_of<"Close">:
      return close(SocketKind::kTcp, message.get<"Close">().connection_id);
  }
}

void Outgoing::handle(proto::LayerUdpOutgoing&& message) {
  using Message = proto::LayerUdpOutgoing;
  switch (message.index()) {
    case Message::index_of<"Connect">:
      return connect_in_order(SocketKind::kUdp, std::move(message.get<"Connect">()));
    case Message::index_of<"ConnectV2">:
      return connect_by_uid(SocketKind::kUdp, std::move(message.get<"ConnectV2">()));
    case Message::index_of<"Write">:
      return write(SocketKind::kUdp, std::move(message.get<"Write">()));
    case Message::index_of<"Close">:
      return close(SocketKind::kUdp, message.get<"Close">().connection_id);
  }
}

void Outgoing::handle(proto::LayerSeqpacket&& message) {
  using Message = proto::LayerSeqpacket;
  switch (message.index()) {
    case Message::index_of<"ConnectV2">:
      return connect_by_uid(SocketKind::kSeqpacket, std::move(message.get<"ConnectV2">()));
    case Message::index_of<"Write">:
      return write(SocketKind::kSeqpacket, std::move(message.get<"Write">()));
    case Message::index_of<"Close">:
      return close(SocketKind::kSeqpacket, message.get<"Close">().connection_id);
  }
}

void Outgoing::connect(SocketKind kind, proto::SocketAddress&& remote,
                       std::move_only_function<void(Connector::Outcome)> done) {
  auto connector =
      std::make_unique<Connector>(link_.loop(), link_.target(), kind, std::move(remote));
  Connector* key = connector.get();
  auto shared_done =
      std::make_shared<std::move_only_function<void(Connector::Outcome)>>(std::move(done));
  auto outcome = connector->start([this, key, shared_done](Connector::Outcome late) {
    const auto finished = connecting_.extract(key);
    (*shared_done)(std::move(late));
  });
  if (outcome) {
    (*shared_done)(std::move(*outcome));
  } else {
    connecting_.emplace(key, std::move(connector));
  }
}

void Outgoing::connect_by_uid(SocketKind kind, proto::LayerConnectV2&& request) {
  connect(kind, std::move(request.remote_address),
          [this, kind, uid = request.uid](Connector::Outcome outcome) {
            link_.send(wrap<"ConnectV2">(kind, uid, adopt(kind, std::move(outcome))));
          });
}

void Outgoing::connect_in_order(SocketKind kind, proto::LayerConnect&& request) {
  auto place = std::make_shared<InOrder>();
  table(kind).in_order.push_back(place);
  connect(kind, std::move(request.remote_address), [this, kind, place](Connector::Outcome outcome) {
    place->outcome = std::move(outcome);
    answer_in_order(kind);
  });
}

void Outgoing::answer_in_order(SocketKind kind) {
  auto& waiting = table(kind).in_order;
  while (!waiting.empty() && waiting.front()->outcome) {
    const std::shared_ptr<InOrder> first = std::move(waiting.front());
    waiting.pop_front();
    proto::Res<proto::DaemonConnect> reply = adopt(kind, std::move(*first->outcome));
    if (kind == SocketKind::kTcp) {
      link_.send(proto::DaemonMessage::make<"TcpOutgoing">(
          proto::DaemonTcpOutgoing::make<"Connect">(std::move(reply))));
    } else {
      link_.send(proto::DaemonMessage::make<"UdpOutgoing">(
          proto::DaemonUdpOutgoing::make<"Connect">(std::move(reply))));
    }
  }
}

// Makes a connection of a connected socket. Its data follows the reply.
proto::Res<proto::DaemonConnect> Outgoing::adopt(SocketKind kind, Connector::Outcome&& outcome) {
  if (!outcome) {
    return std::unexpected(std::move(outcome.error()));
  }
  const proto::ConnectionId id = table(kind).next_id++;
  connections_.adopt(kind, id, std::move(outcome->socket), name_of(outcome->remote));
  return proto::DaemonConnect{id, std::move(outcome->remote), std::move(outcome->local)};
}

void Outgoing::write(SocketKind kind, proto::LayerWrite&& request) {
  connections_.write(kind, request.connection_id, std::move(request.bytes));
}

void Outgoing::close(SocketKind kind, proto::ConnectionId id) {
  if (connections_.take_hint(kind, id)) {
    connections_.abandon(kind, id);
  }
}

}  // namespace mirrord::agent
