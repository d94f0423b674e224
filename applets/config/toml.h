// applets/config/toml.h — configuration files in TOML.
#pragma once

#include <string_view>

#include "applets/config/node.h"

namespace mirrord::config {

// TOML 1.0 without dates and times, which no key takes.
Result<Node> parse_toml(std::string_view text, std::string_view name);

}  // namespace mirrord::config
