// applets/config/values.cpp — the order of sources, and texts of flags and variables as values.
#include "applets/config/values.h"

#include <algorithm>
#include <limits>

namespace mirrord::config {
namespace {

uint64_t limit_of(std::string_view type) {
  if (type == "u16")
    return std::numeric_limits<uint16_t>::max();
  return type == "u32" ? std::numeric_limits<uint32_t>::max()
                       : std::numeric_limits<uint64_t>::max();
}

std::string_view default_of(std::string_view path) {
  const Key* key = find_key(path);
  return key != nullptr ? key->default_text : std::string_view();
}

}  // namespace

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t at = text.find(';');
    std::string_view part = text.substr(0, at);
    while (!part.empty() && part.front() == ' ')
      part.remove_prefix(1);
    while (!part.empty() && part.back() == ' ')
      part.remove_suffix(1);
    if (!part.empty())
      parts.emplace_back(part);
    text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
  }
  return parts;
}

std::optional<Values::Outside> Values::outside_variable(std::string_view variable) const {
  if (const auto found = request_.overrides.find(variable); found != request_.overrides.end())
    return Outside{found->second.value, found->second.flag};
  if (auto value = request_.environment(variable))
    return Outside{std::move(*value), std::string(variable)};
  return std::nullopt;
}

std::optional<Values::Outside> Values::outside(std::string_view path) const {
  const Key* key = find_key(path);
  if (key == nullptr || key->environment.empty())
    return std::nullopt;
  return outside_variable(key->environment);
}

const Node* Values::node(std::string_view path) const {
  return file_ != nullptr ? find_node(file_->root, path) : nullptr;
}

void Values::bad_outside(const Outside& value, const std::string& why) {
  std::string what = "invalid " + value.source + " value `" + value.text + "`: " + why;
  // Several parts of the configuration may ask for the same value.
  if (std::ranges::find(errors_, what, &Error::what) == errors_.end())
    errors_.push_back({ErrorCode::kConfig, std::move(what), ""});
}

std::optional<bool> Values::boolean_text(const Outside& value) {
  if (value.text == "true" || value.text == "false")
    return value.text == "true";
  bad_outside(value, "expected true or false");
  return std::nullopt;
}

std::optional<bool> Values::maybe_boolean(std::string_view path) {
  if (const auto given = outside(path))
    return boolean_text(*given);
  const Node* found = node(path);
  if (found != nullptr && found->type == Node::Type::kBool)
    return found->boolean;
  return std::nullopt;
}

bool Values::boolean(std::string_view path, Above above) {
  if (const auto value = maybe_boolean(path))
    return *value;
  std::string_view parent = path;
  while (above == Above::kShort && parent.rfind('.') != std::string_view::npos) {
    parent = parent.substr(0, parent.rfind('.'));
    const Node* found = node(parent);
    if (found != nullptr && found->type == Node::Type::kBool)
      return found->boolean;
  }
  return default_of(path) == "true";
}

std::optional<uint64_t> Values::maybe_number(std::string_view path) {
  const Key* key = find_key(path);
  const uint64_t limit = key != nullptr ? limit_of(key->type) : 0;
  uint64_t value = 0;
  if (const auto given = outside(path)) {
    if (parse_unsigned(given->text, limit, value))
      return value;
    bad_outside(*given, "expected a whole number up to " + std::to_string(limit));
    return std::nullopt;
  }
  const Node* found = node(path);
  if (found != nullptr && parse_unsigned(found->text, limit, value))
    return value;
  return std::nullopt;
}

uint64_t Values::number(std::string_view path) {
  if (const auto value = maybe_number(path))
    return *value;
  uint64_t value = 0;
  parse_unsigned(default_of(path), limit_of("u64"), value);
  return value;
}

std::string Values::text(std::string_view path) {
  if (const auto given = outside(path))
    return given->text;
  const Node* found = node(path);
  if (found != nullptr && found->type == Node::Type::kString)
    return found->text;
  return std::string(default_of(path));
}

std::vector<std::string> Values::list(std::string_view path) {
  if (const auto given = outside(path))
    return split_list(given->text);
  const Node* found = node(path);
  if (found == nullptr)
    return {};
  if (found->type == Node::Type::kString || found->type == Node::Type::kNumber)
    return {found->text};
  std::vector<std::string> items;
  for (const Node& item : found->items)
    items.push_back(item.text);
  return items;
}

StringPairs Values::map(std::string_view path) const {
  StringPairs pairs;
  if (const Node* found = node(path); found != nullptr) {
    for (const Node::Member& member : found->members)
      pairs.emplace_back(member.key, member.value.text);
  }
  return pairs;
}

void Values::error_at(const Node& node, std::string_view path, const std::string& why,
                      std::string hint) {
  errors_.push_back(
      {ErrorCode::kConfig, key_place(*file_, node.offset, path) + why, std::move(hint)});
}

void Values::error_of(std::string_view path, std::string_view text, const std::string& why,
                      std::string hint) {
  const Node* found = outside(path) ? nullptr : node(path);
  const std::size_t count = found != nullptr ? found->items.size() : 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (found->items[i].text == text)
      return error_at(found->items[i], std::string(path) + "[" + std::to_string(i) + "]", why,
                      std::move(hint));
  }
  if (found != nullptr) {
    const auto member = std::ranges::find(found->members, text, &Node::Member::key);
    if (member != found->members.end()) {
      errors_.push_back(
          {ErrorCode::kConfig, key_place(*file_, member->offset, path) + why, std::move(hint)});
      return;
    }
  }
  error(path, why, std::move(hint));
}

void Values::error(std::string_view path, const std::string& why, std::string hint) {
  if (const auto given = outside(path)) {
    errors_.push_back({ErrorCode::kConfig,
                       "`" + std::string(path) + "` (from " + given->source + "): " + why,
                       std::move(hint)});
  } else if (const Node* found = node(path); found != nullptr) {
    error_at(*found, path, why, std::move(hint));
  } else {
    errors_.push_back({ErrorCode::kConfig, "`" + std::string(path) + "`: " + why, std::move(hint)});
  }
}

}  // namespace mirrord::config
