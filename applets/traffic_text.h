// applets/traffic_text.h — what `mirrord dump` says about each message of incoming traffic.
#pragma once

#include <string>

#include "proto/tcp.h"

namespace mirrord {

// Whole lines; empty for messages that are no traffic.
[[nodiscard]] std::string traffic_text(const proto::DaemonTcp& message);

}  // namespace mirrord
