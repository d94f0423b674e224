// applets/config/node_json.h — values of the configuration as JSON, wherever they come from.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "applets/config/node.h"

namespace mirrord::config {

// The names on the way to a value; items of a list have the list's.
using Names = std::vector<std::string_view>;
using HidesValue = std::function<bool(const Names&)>;

// A value of the file, in which what `hides` is true of is "***". `names` lead to the value.
std::string node_json(const Node& node, const HidesValue& hides = {}, Names names = {});

// The text of a flag, variable or default as a value of one of `types` (keys.h): as a string if it is
// of no other.
std::string text_json(std::string_view types, std::string_view text);

inline constexpr std::string_view kHidden = "***";

}  // namespace mirrord::config
