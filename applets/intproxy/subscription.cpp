// applets/intproxy/subscription.cpp — the messages about subscriptions, for mirroring and stealing.
#include "applets/intproxy/subscription.h"

#include <algorithm>
#include <utility>

namespace mirrord::intproxy {

using proto::ClientMessage;
using proto::LayerTcp;
using proto::LayerTcpSteal;

const proto::HttpFilter* filter_for(const config::IncomingRules& rules, std::uint16_t port) {
  const auto& ports = rules.http_filter_ports;
  const bool is_filtered =
      rules.http_filter && (!ports || std::ranges::find(*ports, port) != ports->end());
  return is_filtered ? &*rules.http_filter : nullptr;
}

bool knows_filter(const AgentLink& agent, const proto::HttpFilter& filter) {
  using proto::Gate;
  if (const auto* composite = filter.get_if<"Composite">()) {
    return agent.supports(Gate::kHttpCompositeFilter) &&
           std::ranges::all_of(composite->filters, [&](const proto::HttpFilter& part) {
             return knows_filter(agent, part);
           });
  }
  return (!filter.is<"Method">() || agent.supports(Gate::kHttpMethodFilter)) &&
         (!filter.is<"Body">() || agent.supports(Gate::kHttpBodyJsonFilter)) &&
         (!filter.is<"HeaderJq">() || agent.supports(Gate::kHttpHeaderJqFilter));
}

ClientMessage subscribe_message(const config::IncomingRules& rules, const AgentLink& agent,
                                std::uint16_t port) {
  const proto::HttpFilter* filter = filter_for(rules, port);
  if (rules.mode == config::IncomingMode::kSteal) {
    proto::StealType type = filter != nullptr
                                ? proto::StealType::make<"FilteredHttpEx">(port, *filter)
                                : proto::StealType::make<"All">(port);
    return ClientMessage::make<"TcpSteal">(LayerTcpSteal::make<"PortSubscribe">(std::move(type)));
  }
  if (filter != nullptr && agent.supports(proto::Gate::kMirrorHttpFilter)) {
    return ClientMessage::make<"Tcp">(LayerTcp::make<"PortSubscribeFilteredHttp">(port, *filter));
  }
  return ClientMessage::make<"Tcp">(LayerTcp::make<"PortSubscribe">(port));
}

ClientMessage unsubscribe_message(const config::IncomingRules& rules, std::uint16_t port) {
  return rules.mode == config::IncomingMode::kSteal
             ? ClientMessage::make<"TcpSteal">(LayerTcpSteal::make<"PortUnsubscribe">(port))
             : ClientMessage::make<"Tcp">(LayerTcp::make<"PortUnsubscribe">(port));
}

ClientMessage turn_away_message(AgentLink::Outgoing kind, proto::ConnectionId id) {
  return kind == AgentLink::Outgoing::kStolen
             ? ClientMessage::make<"TcpSteal">(LayerTcpSteal::make<"ConnectionUnsubscribe">(id))
             : ClientMessage::make<"Tcp">(LayerTcp::make<"ConnectionUnsubscribe">(id));
}

std::optional<std::uint16_t> take_answered(std::deque<std::uint16_t>& asked,
                                           const proto::Res<proto::Port>& answer) {
  const auto place = answer ? std::ranges::find(asked, *answer) : asked.begin();
  if (place == asked.end()) {
    return std::nullopt;
  }
  const std::uint16_t port = *place;
  asked.erase(place);
  return port;
}

}  // namespace mirrord::intproxy
