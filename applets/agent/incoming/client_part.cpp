// applets/agent/incoming/client_part.cpp — a client's subscriptions and the connections it gets.
#include "applets/agent/incoming/client_part.h"

#include <utility>

#include "proto/version.h"

namespace mirrord::agent {

using proto::DaemonMessage;
using proto::DaemonTcp;

IncomingClient::IncomingClient(ClientLink& link, Incoming* incoming)
    : link_(link),
      incoming_(incoming),
      stolen_(
          link,
          {
              .data =
                  [this](SocketKind, proto::ConnectionId id, proto::Bytes&& bytes) {
                    if (const auto copies = copies_.find(id); copies != copies_.end()) {
                      for (const auto& copy : copies->second)
                        copy->data(bytes.span());
                    }
                    send(IncomingMode::kSteal, DaemonTcp::make<"Data">(id, std::move(bytes)));
                  },
              .close =
                  [this](SocketKind, proto::ConnectionId id) {
                    copies_.erase(id);
                    send(IncomingMode::kSteal, DaemonTcp::make<"Close">(id));
                  },
              .failed = [](const ClientConnection&, const Error&) {},  // remote clients come and go
          }),
      mirror_(link) {}

IncomingClient::~IncomingClient() {
  *alive_ = false;
  leave();
}

void IncomingClient::leave() {
  if (Incoming* incoming = std::exchange(incoming_, nullptr))
    incoming->forget(*this);
  stolen_.reset_all();
  copies_.clear();
  mirror_.end_all();
}

void IncomingClient::on_drained() {
  stolen_.on_drained();
  mirror_.on_drained();
}

// ---- from the client

void IncomingClient::handle(proto::LayerTcp&& message) {
  using Message = proto::LayerTcp;
  switch (message.index()) {
    case Message::index_of<"PortSubscribe">:
      return subscribe(IncomingMode::kMirror, message.get<"PortSubscribe">(), std::nullopt);
    case Message::index_of<"PortSubscribeFilteredHttp">: {
      auto& request = message.get<"PortSubscribeFilteredHttp">();
      return subscribe(IncomingMode::kMirror, request.port, std::move(request.filter));
    }
    case Message::index_of<"PortUnsubscribe">:
      if (incoming_ != nullptr)
        incoming_->unsubscribe(*this, IncomingMode::kMirror, message.get<"PortUnsubscribe">());
      return;
    case Message::index_of<"ConnectionUnsubscribe">:
      return mirror_.unsubscribe(message.get<"ConnectionUnsubscribe">());
  }
}

void IncomingClient::handle(proto::LayerTcpSteal&& message) {
  using Message = proto::LayerTcpSteal;
  switch (message.index()) {
    case Message::index_of<"PortSubscribe">: {
      auto& type = message.get<"PortSubscribe">();
      if (const proto::Port* all = type.get_if<"All">())
        return subscribe(IncomingMode::kSteal, *all, std::nullopt);
      if (auto* by_header = type.get_if<"FilteredHttp">()) {
        return subscribe(IncomingMode::kSteal, by_header->port,
                         proto::HttpFilter::make<"Header">(std::move(by_header->filter)));
      }
      auto& by_filter = type.get<"FilteredHttpEx">();
      return subscribe(IncomingMode::kSteal, by_filter.port, std::move(by_filter.filter));
    }
    case Message::index_of<"PortUnsubscribe">:
      if (incoming_ != nullptr)
        incoming_->unsubscribe(*this, IncomingMode::kSteal, message.get<"PortUnsubscribe">());
      return;
    case Message::index_of<"ConnectionUnsubscribe">: {
      const proto::ConnectionId id = message.get<"ConnectionUnsubscribe">();
      if (!stolen_.take_hint(SocketKind::kTcp, id))
        return;
      copies_.erase(id);
      // One whose data have ended has come to its end; anything else was broken off.
      const ClientConnection* connection = stolen_.find(SocketKind::kTcp, id);
      if (connection != nullptr && connection->client_has_ended)
        stolen_.abandon(SocketKind::kTcp, id);
      else
        stolen_.reset(SocketKind::kTcp, id);
      return;
    }
    case Message::index_of<"Data">: {
      auto& data = message.get<"Data">();
      return stolen_.write(SocketKind::kTcp, data.connection_id, std::move(data.bytes));
    }
    case Message::index_of<"HttpResponse">:
    case Message::index_of<"HttpResponseFramed">:
    case Message::index_of<"HttpResponseChunked">:
      return;
  }
}

void IncomingClient::subscribe(IncomingMode mode, proto::Port port,
                               std::optional<proto::HttpFilter> filter) {
  if (incoming_ == nullptr && !link_.speaks_flight()) {
    // As the original's agent without a target.
    return link_.send(DaemonMessage::make<"Close">(
        "incoming traffic is not available: this agent has no target"));
  }
  auto place = std::make_shared<std::optional<proto::Res<proto::Port>>>();
  answers_[static_cast<std::size_t>(mode)].in_order.push_back(place);
  if (incoming_ == nullptr) {  // our own client listens on its machine only, and goes on
    *place = std::unexpected(proto::ResponseError::make<"NotImplemented">());
    return answer(mode);
  }
  if (filter) {
    // Connections are not taken apart into requests yet, and unfiltered traffic is not what was asked for.
    *place = std::unexpected(proto::ResponseError::make<"NotImplemented">());
    return answer(mode);
  }
  incoming_->subscribe(*this, mode, port, std::move(filter),
                       [this, mode, place, alive = alive_](proto::Res<proto::Port> result) {
                         *place = std::move(result);
                         if (*alive)
                           answer(mode);
                       });
}

// The answers name the port at best, so they come in the order of the requests.
void IncomingClient::answer(IncomingMode mode) {
  auto& waiting = answers_[static_cast<std::size_t>(mode)].in_order;
  while (!waiting.empty() && waiting.front()->has_value()) {
    send(mode, DaemonTcp::make<"SubscribeResult">(std::move(**waiting.front())));
    waiting.pop_front();
  }
}

// ---- to the client

void IncomingClient::send(IncomingMode mode, DaemonTcp&& message) {
  link_.send(mode == IncomingMode::kMirror ? DaemonMessage::make<"Tcp">(std::move(message))
                                           : DaemonMessage::make<"TcpSteal">(std::move(message)));
}

DaemonTcp IncomingClient::announcement(proto::ConnectionId id, const Origin& origin) const {
  proto::NewTcpConnectionV1 connection{
      .connection_id = id,
      .remote_address = to_wire(origin.peer.ip),
      .destination_port = origin.destination.port,
      .source_port = origin.peer.port,
      .local_address = to_wire(origin.destination.ip),
  };
  if (!proto::satisfies(link_.version(), proto::Gate::kModeAgnosticHttpRequests))
    return DaemonTcp::make<"NewConnectionV1">(std::move(connection));
  return DaemonTcp::make<"NewConnectionV2">(std::move(connection), origin.transport);
}

void IncomingClient::steal(Fd socket, const Origin& origin, PassThrough::Copies copies) {
  const proto::ConnectionId id = next_stolen_++;
  if (!copies.empty())
    copies_.emplace(id, std::move(copies));
  send(IncomingMode::kSteal, announcement(id, origin));
  stolen_.adopt(SocketKind::kTcp, id, std::move(socket), origin.peer.to_string());
}

std::unique_ptr<MirrorCopy> IncomingClient::mirror(const Origin& origin) {
  auto copy = mirror_.open();
  copy->send(announcement(copy->id(), origin), 0);
  return copy;
}

void IncomingClient::refused(proto::Port port, const Error& error) {
  link_.log_error("cannot take traffic of port " + std::to_string(port) + ": " + error.what +
                  (error.hint.empty() ? "" : ". " + error.hint));
}

void IncomingClient::displaced(proto::Port port, bool by_filter) {
  link_.log_warning("port " + std::to_string(port) + " is no longer stolen for this session: " +
                    (by_filter ? "another session steals some of its HTTP requests now"
                               : "another session steals all of it now"));
}

}  // namespace mirrord::agent
