// applets/config/show.h — every key's value, and where it comes from.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "applets/config/keys.h"
#include "applets/config/load.h"
#include "applets/config/values.h"

namespace mirrord::config {

struct ShownValue {
  std::string_view path;
  std::string value;   // as JSON
  std::string source;  // "mirrord.json:3:7", "--target", "MIRRORD_AGENT_TTL", "default"
  bool is_default = false;
};

// All keys of the table that stand for a value, in its order. Fails as load() does. Passwords, values
// of variables for the program and the like are "***": what is shown may be pasted into a report.
std::expected<std::vector<ShownValue>, std::vector<Error>> show(const LoadRequest& request);

// The same, of what is loaded.
std::vector<ShownValue> shown_values(const Values& values, const File* file);

// A flag's, variable's or default's text as the JSON of a key's value; hidden if the key is a secret
// or holds some.
std::string shown_text(const Key& key, std::string_view text);

}  // namespace mirrord::config
