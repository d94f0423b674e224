// applets/latency.h — round trips to an agent, and what they come to.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "applets/intproxy/agent_link.h"
#include "net/loop.h"

namespace mirrord {

// Milliseconds from a ping to its answer; runs the loop. Nothing when `is_over` holds before, or the
// link breaks.
std::optional<double> round_trip_ms(net::Loop& loop, intproxy::AgentLink& link,
                                    const std::function<bool()>& is_over);

// "Latency statistics: min=0.041ms, max=0.180ms, avg=0.060ms, p50=0.055ms, p99=0.171ms".
std::string latency_text(std::vector<double> milliseconds);

}  // namespace mirrord
