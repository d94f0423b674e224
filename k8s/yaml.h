// k8s/yaml.h — YAML texts as the JSON values that they stand for.
#pragma once

#include <string_view>
#include <vector>

#include "k8s/json.h"
#include "net/error.h"
#include "net/yaml.h"

namespace mirrord::k8s {

Json to_json(const net::YamlNode& node);

// The documents of a text in YAML or JSON, which is a part of YAML. `what` names it in errors.
Result<std::vector<Json>> parse_yaml_documents(std::string_view text, std::string_view what);

}  // namespace mirrord::k8s
