// applets/agent/incoming/client_part.cpp — a client's subscriptions and the connections it gets.
#include "applets/agent/incoming/client_part.h"

#include <utility>

#include "applets/agent/incoming/http_request.h"
#include "applets/agent/incoming/stolen_request.h"
#include "proto/hints.h"
#include "proto/version.h"

namespace mirrord::agent {
namespace {

// Warnings about filters of this much time are one.
constexpr std::uint64_t kWarningPauseMs = 10'000;

proto::ConnectionId connection_of(const proto::ChunkedResponse& response) {
  using proto::ChunkedResponse;
  switch (response.index()) {
    case ChunkedResponse::index_of<"Start">:
      return response.get<"Start">().connection_id;
    case ChunkedResponse::index_of<"Body">:
      return response.get<"Body">().connection_id;
    default:
      return response.get<"Error">().connection_id;
  }
}

}  // namespace

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
  for (const auto& [id, request] : std::exchange(requests_, {}))
    request->client_gone();
  mirror_.end_all();
}

void IncomingClient::on_drained() {
  stolen_.on_drained();
  for (const proto::ConnectionId id : std::exchange(waiting_requests_, {})) {
    if (StolenRequest* waiting = request(id))
      waiting->client_drained();
  }
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
      if (take_turn_away(id) || !stolen_.take_hint(SocketKind::kTcp, id))
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
      if (StolenRequest* tunnel = request(data.connection_id))
        return tunnel->data(std::move(data.bytes));
      return stolen_.write(SocketKind::kTcp, data.connection_id, std::move(data.bytes));
    }
    case Message::index_of<"HttpResponse">: {
      auto& response = message.get<"HttpResponse">();
      if (StolenRequest* asked = request(response.connection_id))
        asked->take(std::move(response));
      return;
    }
    case Message::index_of<"HttpResponseFramed">: {
      auto& response = message.get<"HttpResponseFramed">();
      if (StolenRequest* asked = request(response.connection_id))
        asked->take(std::move(response));
      return;
    }
    case Message::index_of<"HttpResponseChunked">: {
      auto& response = message.get<"HttpResponseChunked">();
      if (StolenRequest* asked = request(connection_of(response)))
        asked->take(std::move(response));
      return;
    }
  }
}

StolenRequest* IncomingClient::request(proto::ConnectionId id) const {
  const auto found = requests_.find(id);
  return found == requests_.end() ? nullptr : found->second;
}

// False: it is not about a request.
bool IncomingClient::take_turn_away(proto::ConnectionId id) {
  StolenRequest* subject = request(proto::without_hint(id));
  if (subject == nullptr)
    return false;
  switch (proto::hint_of(id)) {
    case proto::Hint::kPause:
      subject->hold(true);
      break;
    case proto::Hint::kResume:
      subject->hold(false);
      break;
    case proto::Hint::kReset:
    case proto::Hint::kNone:
      subject->turned_away();
      break;
  }
  return true;
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

// ---- requests

bool IncomingClient::takes_unfiltered_requests() const {
  return proto::satisfies(link_.version(), proto::Gate::kModeAgnosticHttpRequests);
}

bool IncomingClient::takes(const net::http::RequestHead& head, bool is_filtered) const {
  if (!is_filtered)
    return takes_unfiltered_requests();
  return !net::http::asks_upgrade(head) ||
         proto::satisfies(link_.version(), proto::Gate::kHttpFilteredUpgrade);
}

std::unique_ptr<RequestHandler> IncomingClient::steal_request(HttpRequest& stolen) {
  const proto::ConnectionId id = next_stolen_++;
  auto handler = std::make_unique<StolenRequest>(*this, id, stolen);
  requests_.emplace(id, handler.get());
  return handler;
}

std::unique_ptr<MirrorCopy> IncomingClient::mirror_request(const net::http::RequestHead& head,
                                                           const Origin& origin,
                                                           BodyFrames&& frames, bool is_last) {
  std::size_t size = 0;
  for (const auto& frame : frames) {
    if (const auto* data = frame.get_if<"Data">())
      size += data->size();
  }
  auto copy = mirror_.open();
  copy->send(
      request_start(RequestForm::kChunkedV2, copy->id(), head, origin, std::move(frames), is_last),
      size);
  return copy;
}

void IncomingClient::filter_gave_up(proto::Port port) {
  if (link_.loop().now_ms() < next_gave_up_warning_ms_)
    return;
  next_gave_up_warning_ms_ = link_.loop().now_ms() + kWarningPauseMs;
  link_.log_warning("the HTTP filter for port " + std::to_string(port) +
                    " takes too long to decide about some requests: they count as not picked");
}

void IncomingClient::refused(proto::Port port, const Error& error) {
  link_.log_error("cannot take traffic of port " + std::to_string(port) + ": " + error.what +
                  (error.hint.empty() ? "" : ". " + error.hint));
}

void IncomingClient::takes_probes(proto::Port port) {
  link_.log_warning("the kubelet's probes of port " + std::to_string(port) +
                    " reach the local program now: while it does not answer them, the pod gets no "
                    "traffic or is restarted. With an `http_filter` they stay with the target");
}

void IncomingClient::displaced(proto::Port port, bool by_filter) {
  link_.log_warning("port " + std::to_string(port) + " is no longer stolen for this session: " +
                    (by_filter ? "another session steals some of its HTTP requests now"
                               : "another session steals all of it now"));
}

}  // namespace mirrord::agent
