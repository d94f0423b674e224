// applets/intproxy/subscription.h — what is said to the agent about a port of the target, and what its
// answers mean.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "applets/config/config.h"
#include "applets/intproxy/agent_link.h"
#include "proto/client_message.h"
#include "proto/http.h"
#include "proto/response_error.h"

namespace mirrord::intproxy {

// The filter that holds on this port of the target; null: the port is taken whole. Lives in `rules`.
[[nodiscard]] const proto::HttpFilter* filter_for(const config::IncomingRules& rules,
                                                  std::uint16_t port);

// Whether the agent's version has all kinds of it.
[[nodiscard]] bool knows_filter(const AgentLink& agent, const proto::HttpFilter& filter);

// An agent that cannot mirror by a filter is asked for the whole port.
[[nodiscard]] proto::ClientMessage subscribe_message(const config::IncomingRules& rules,
                                                     const AgentLink& agent, std::uint16_t port);
[[nodiscard]] proto::ClientMessage unsubscribe_message(const config::IncomingRules& rules,
                                                       std::uint16_t port);

// Nobody takes this connection (kStolen, kMirrored): the remote client learns so at once.
[[nodiscard]] proto::ClientMessage turn_away_message(AgentLink::Outgoing kind,
                                                     proto::ConnectionId id);

// Which of the ports `asked` for, in order, an answer is about; takes it out. Only a success always
// names its port. Null: none of them.
std::optional<std::uint16_t> take_answered(std::deque<std::uint16_t>& asked,
                                           const proto::Res<proto::Port>& answer);

}  // namespace mirrord::intproxy
