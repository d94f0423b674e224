// applets/config/check.cpp — types and names of keys, with the place of what is wrong.
#include "applets/config/check.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "applets/config/keys.h"
#include "net/spelling.h"

namespace mirrord::config {
namespace {

using Type = Node::Type;

// Calls `each` with the parts of `text` between separators; stops at the first true.
template <class Each>
bool any_part(std::string_view text, std::string_view separator, Each each) {
  while (true) {
    const std::size_t at = text.find(separator);
    if (each(text.substr(0, at)))
      return true;
    if (at == std::string_view::npos)
      return false;
    text = text.substr(at + separator.size());
  }
}

struct NumberType {
  std::string_view name;
  uint64_t limit;
};
constexpr NumberType kNumberTypes[] = {
    {"u16", std::numeric_limits<uint16_t>::max()}, {"u32", std::numeric_limits<uint32_t>::max()},
    {"u64", std::numeric_limits<uint64_t>::max()}, {"i32", std::numeric_limits<int32_t>::max()},
    {"i64", std::numeric_limits<int64_t>::max()},
};

bool is_list_of(const Node& node, std::string_view element);

bool matches(const Node& node, std::string_view type) {
  const auto number = std::ranges::find(kNumberTypes, type, &NumberType::name);
  if (number != std::end(kNumberTypes)) {
    uint64_t value = 0;
    return node.type == Type::kNumber && parse_unsigned(node.text, number->limit, value);
  }
  if (type == "bool")
    return node.type == Type::kBool;
  if (type == "string" || type == "path" || type == "ip" || type == "socket_addr")
    return node.type == Type::kString;
  if (type == "\"infinite\"")
    return node.type == Type::kString && node.text == "infinite";
  if (type == "null")
    return node.type == Type::kNull;
  if (type == "object" || type.starts_with("map<"))
    return node.type == Type::kObject;
  if (type == "param_source" || type == "quantity")
    return node.type == Type::kString || node.type == Type::kObject || node.type == Type::kNumber;
  if (type.ends_with("[]"))
    return is_list_of(node, type.substr(0, type.size() - 2));
  return false;
}

bool is_list_of(const Node& node, std::string_view element) {
  if (node.type != Type::kArray)
    return false;
  return std::ranges::all_of(node.items, [&](const Node& item) {
    if (element == "[u16,u16]")
      return item.items.size() == 2 && is_list_of(item, "u16");
    return matches(item, element);
  });
}

std::string described(std::string_view type) {
  if (type == "bool")
    return "true or false";
  if (type == "string")
    return "a string";
  if (type == "path")
    return "a path (a string)";
  if (type == "ip")
    return "an IP address (a string)";
  if (type == "socket_addr")
    return "IP:PORT (a string)";
  if (type == "object")
    return "an object";
  if (type == "u16")
    return "a number from 0 to 65535";
  if (type == "u32" || type == "u64" || type == "i32" || type == "i64")
    return "a whole number";
  if (type == "string[]")
    return "a list of strings";
  if (type == "u16[]")
    return "a list of ports";
  if (type == "[u16,u16][]")
    return "a list of port pairs such as [[80, 8080]]";
  if (type == "object[]")
    return "a list of objects";
  if (type.starts_with("map<"))
    return "an object of names and values";
  return std::string(type);
}

class Checker {
 public:
  Checker(const File& file, std::vector<Error>& errors) : file_(file), errors_(errors) {}

  void object(const Node& node, const std::string& pattern, const std::string& shown) {
    const Key* self = find_key(pattern);
    for (const Node::Member& member : node.members) {
      if (pattern.empty() && member.key == "$schema")
        continue;  // for editors
      const std::string child = pattern.empty() ? member.key : pattern + "." + member.key;
      const std::string name = shown.empty() ? member.key : shown + "." + member.key;
      if (const Key* key = find_key(child))
        value(member.value, *key, child, name);
      else if (const Key* any = find_key(pattern + ".{}"))
        value(member.value, *any, pattern + ".{}", name);
      else if (self != nullptr && self->type.starts_with("map<"))
        map_value(member.value, self->type, name);
      else if (!is_free(self))
        unknown(member, pattern, name);
    }
  }

 private:
  static bool is_free(const Key* key) { return key != nullptr && (key->marks & kFree) != 0; }

  void error(std::size_t offset, std::string_view name, const std::string& why, std::string hint) {
    errors_.push_back({ErrorCode::kConfig, key_place(file_, offset, name) + why, std::move(hint)});
  }

  void unknown(const Node::Member& member, std::string_view parent, const std::string& name) {
    std::string hint = "Remove it, or see `mirrord config keys` for the list of keys.";
    if (member.key == "pause" && parent.empty())
      hint = "This key of old versions is gone; remove it.";
    else if (const auto nearest = nearest_key(parent, member.key); !nearest.empty())
      hint = "Did you mean `" + std::string(nearest) + "`?";
    error(member.offset, name, "unknown key", std::move(hint));
  }

  void value(const Node& node, const Key& key, const std::string& pattern,
             const std::string& name) {
    if (node.type == Type::kNull && key.default_text.empty())
      return;
    if (!any_part(key.type, " | ", [&](std::string_view type) { return matches(node, type); })) {
      std::string wanted;
      any_part(key.type, " | ", [&](std::string_view type) {
        wanted += (wanted.empty() ? "" : " or ") + described(type);
        return false;
      });
      error(node.offset, name,
            "expected " + wanted + ", found " +
                (node.type == Type::kNumber ? "the number " + node.text
                                            : std::string(node.type_name())),
            "");
      return;
    }
    if (node.type == Type::kString && !key.words.empty())
      word(node, key, name);
    if (node.type == Type::kObject)
      object(node, pattern, name);
    if (node.type == Type::kArray && has_children(pattern + "[]"))
      list(node, pattern, name);
  }

  void list(const Node& node, const std::string& pattern, const std::string& name) {
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      if (node.items[i].type == Type::kObject)
        object(node.items[i], pattern + "[]", name + "[" + std::to_string(i) + "]");
    }
  }

  void map_value(const Node& node, std::string_view type, const std::string& name) {
    const bool wants_string = type == "map<string,string>";
    if (wants_string && node.type != Type::kString)
      error(
          node.offset, name, "expected a string, found " + std::string(node.type_name()),
          node.type == Type::kNumber || node.type == Type::kBool ? "Put it in double quotes." : "");
  }

  void word(const Node& node, const Key& key, const std::string& name) {
    if (any_part(key.words, "|", [&](std::string_view known) { return known == node.text; }))
      return;
    std::string list;
    net::Nearest nearest(node.text);
    any_part(key.words, "|", [&](std::string_view known) {
      list += (list.empty() ? "" : ", ") + std::string(known);
      nearest.offer(known);
      return false;
    });
    std::string hint;
    if (!nearest.found().empty())
      hint = "Did you mean `" + std::string(nearest.found()) + "`?";
    error(node.offset, name, "expected one of " + list + ", found `" + node.text + "`",
          std::move(hint));
  }

  const File& file_;
  std::vector<Error>& errors_;
};

}  // namespace

bool parse_unsigned(std::string_view text, uint64_t limit, uint64_t& value) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() && end == text.data() + text.size() && !text.empty() && value <= limit;
}

std::string key_place(const File& file, std::size_t offset, std::string_view path) {
  return file.name + ":" + position_text(file.text, offset) + ": `" + std::string(path) + "`: ";
}

void check_keys(const File& file, std::vector<Error>& errors) {
  if (file.root.type != Type::kObject) {
    errors.push_back({ErrorCode::kConfig,
                      file.name + ":" + position_text(file.text, file.root.offset) +
                          ": expected an object, found " + std::string(file.root.type_name()),
                      "A configuration file is one object: { \"target\": … }."});
    return;
  }
  Checker(file, errors).object(file.root, "", "");
}

const Node* find_node(const Node& root, std::string_view path) {
  const Node* node = &root;
  while (node != nullptr) {
    const std::size_t dot = path.find('.');
    node = node->member(path.substr(0, dot));
    if (dot == std::string_view::npos)
      break;
    path = path.substr(dot + 1);
  }
  return node != nullptr && node->type != Type::kNull ? node : nullptr;
}

}  // namespace mirrord::config
