// applets/incoming_summary.h — in a few sentences, what a session takes of the target's traffic.
#pragma once

#include <string>
#include <vector>

#include "applets/config/config.h"

namespace mirrord {

// For people; empty if incoming traffic is off.
std::vector<std::string> incoming_summary(const config::IncomingRules& rules);

}  // namespace mirrord
