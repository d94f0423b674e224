// applets/config/yaml.h — configuration files in YAML.
#pragma once

#include <string_view>

#include "applets/config/node.h"

namespace mirrord::config {

// One document. An empty one is an empty configuration.
Result<Node> parse_yaml(std::string_view text, std::string_view name);

}  // namespace mirrord::config
