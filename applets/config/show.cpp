// applets/config/show.cpp — walks the table of keys and asks each one's source.
#include "applets/config/show.h"

#include <algorithm>
#include <array>
#include <utility>

#include "applets/json_text.h"

namespace mirrord::config {
namespace {

// Values that are the user's secrets as likely as not; their names are none.
constexpr std::array<std::string_view, 1> kSecrets{"feature.env.override"};
constexpr std::string_view kHidden = "***";

std::string json_of(const Node& node, bool hides_texts) {
  switch (node.type) {
    case Node::Type::kNull:
      return "null";
    case Node::Type::kBool:
      return node.boolean ? "true" : "false";
    case Node::Type::kNumber:
      return node.text;
    case Node::Type::kString:
      return json_quoted(hides_texts ? kHidden : std::string_view(node.text));
    case Node::Type::kArray: {
      std::string text = "[";
      for (const Node& item : node.items)
        text += (text.size() > 1 ? "," : "") + json_of(item, hides_texts);
      return text + "]";
    }
    case Node::Type::kObject:
      break;
  }
  std::string text = "{";
  for (const Node::Member& member : node.members)
    text += (text.size() > 1 ? "," : "") + json_quoted(member.key) + ":" +
            json_of(member.value, hides_texts);
  return text + "}";
}

// The texts of flags, variables and the table are not JSON, but they say what would be.
std::string json_of_text(std::string_view text, std::string_view type) {
  const bool is_word = type.find("string") != std::string_view::npos ||
                       type.find("path") != std::string_view::npos || type.empty();
  if (!is_word &&
      (text == "true" || text == "false" || text.starts_with('[') || text.starts_with('{')))
    return std::string(text);
  const bool is_number =
      !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  return is_number && !is_word ? std::string(text) : json_quoted(text);
}

}  // namespace

std::vector<ShownValue> shown_values(const Values& values, const File* file) {
  std::vector<ShownValue> shown;
  for (const Key& key : all_keys()) {
    const bool is_secret = std::ranges::find(kSecrets, key.path) != kSecrets.end();
    const bool is_parent = has_children(key.path);
    if (const auto outside = values.outside(key.path)) {
      shown.push_back({key.path,
                       is_secret ? json_quoted(kHidden) : json_of_text(outside->text, key.type),
                       outside->source, false});
      continue;
    }
    const Node* node = values.node(key.path);
    // An object speaks by its members; a shorter form for itself.
    if (node != nullptr && !(is_parent && node->type == Node::Type::kObject)) {
      shown.push_back({key.path, json_of(*node, is_secret),
                       file->name + ":" + position_text(file->text, node->offset), false});
    } else if (node == nullptr && !is_parent && !key.default_text.empty() &&
               (key.marks & (kOperator | kDeprecated)) == 0) {
      shown.push_back({key.path, json_of_text(key.default_text, key.type), "default", true});
    }
  }
  return shown;
}

}  // namespace mirrord::config
