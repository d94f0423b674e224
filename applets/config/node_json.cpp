// applets/config/node_json.cpp — writes values so that the result is JSON whatever they hold.
#include "applets/config/node_json.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "applets/config/check.h"
#include "applets/json_text.h"

namespace mirrord::config {
namespace {

bool is_json(std::string_view text) {
  return parse_json(text, "").has_value();
}

bool has_alternative(std::string_view types, std::string_view wanted) {
  return (" " + std::string(types) + " ").find(" " + std::string(wanted) + " ") !=
         std::string::npos;
}

bool is_number_type(std::string_view types) {
  return std::ranges::any_of(std::array{"u16", "u32", "u64", "i32", "i64"},
                             [&](std::string_view type) { return has_alternative(types, type); });
}

// `names` is as it was when this returns.
std::string written(const Node& node, const HidesValue& hides, Names& names) {
  switch (node.type) {
    case Node::Type::kNull:
      return "null";
    case Node::Type::kArray: {
      std::string text = "[";
      for (const Node& item : node.items)
        text += (text.size() > 1 ? "," : "") + written(item, hides, names);
      return text + "]";
    }
    case Node::Type::kObject: {
      std::string text = "{";
      for (const Node::Member& member : node.members) {
        names.push_back(member.key);
        text += (text.size() > 1 ? "," : "") + json_quoted(member.key) + ":" +
                written(member.value, hides, names);
        names.pop_back();
      }
      return text + "}";
    }
    default:
      break;
  }
  if (hides && hides(names))
    return json_quoted(kHidden);
  if (node.type == Node::Type::kBool)
    return node.boolean ? "true" : "false";
  // YAML and TOML have numbers that are none in JSON.
  return node.type == Node::Type::kNumber && is_json(node.text) ? node.text
                                                                : json_quoted(node.text);
}

}  // namespace

std::string node_json(const Node& node, const HidesValue& hides, Names names) {
  return written(node, hides, names);
}

std::string text_json(std::string_view types, std::string_view text) {
  if (has_alternative(types, "bool") && (text == "true" || text == "false"))
    return std::string(text);
  uint64_t number = 0;
  if (is_number_type(types) && parse_unsigned(text, UINT64_MAX, number))
    return std::to_string(number);
  return json_quoted(text);
}

}  // namespace mirrord::config
