// applets/config/check.cpp — types and names of keys, with the place of what is wrong.
#include "applets/config/check.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "applets/config/keys.h"
#include "applets/config/message.h"
#include "net/address.h"
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

bool is_ip(const std::string& text) {
  return text.find('%') == std::string::npos && net::IpAddress::parse(text).has_value();
}

bool is_socket_address(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  uint64_t port = 0;
  if (colon == std::string::npos || !parse_unsigned(text.substr(colon + 1), 65535, port))
    return false;
  const bool is_bracketed = colon >= 2 && text[0] == '[' && text[colon - 1] == ']';
  const std::string host = is_bracketed ? text.substr(1, colon - 2) : text.substr(0, colon);
  return is_ip(host) && is_bracketed == (host.find(':') != std::string::npos);
}

bool matches_number(const Node& node, const NumberType& type) {
  std::string_view digits = node.text;
  if (type.name == "i64" && digits.starts_with('-'))
    digits.remove_prefix(1);
  uint64_t value = 0;
  return node.type == Type::kNumber && parse_unsigned(digits, type.limit, value);
}

bool matches(const Node& node, std::string_view type) {
  const auto number = std::ranges::find(kNumberTypes, type, &NumberType::name);
  if (number != std::end(kNumberTypes))
    return matches_number(node, *number);
  if (type == "bool")
    return node.type == Type::kBool;
  if (type == "string" || type == "path")
    return node.type == Type::kString;
  if (type == "ip")
    return node.type == Type::kString && is_ip(node.text);
  if (type == "socket_addr")
    return node.type == Type::kString && is_socket_address(node.text);
  if (type == "\"infinite\"")
    return node.type == Type::kString && node.text == "infinite";
  if (type == "null")
    return node.type == Type::kNull;
  if (type == "object" || type.starts_with("map<"))
    return node.type == Type::kObject;
  if (type == "param_source" || type == "quantity")
    return node.type == Type::kString || node.type == Type::kObject || node.type == Type::kNumber;
  if (type == "[u16,u16]")
    return node.type == Type::kArray && node.items.size() == 2 && matches(node.items[0], "u16") &&
           matches(node.items[1], "u16");
  return type.ends_with("[]") && node.type == Type::kArray &&
         std::ranges::all_of(node.items, [&](const Node& item) {
           return matches(item, type.substr(0, type.size() - 2));
         });
}

struct Described {
  std::string_view type;
  std::string_view words;
};
constexpr Described kDescribed[] = {
    {"bool", "true or false"},
    {"string", "a string"},
    {"path", "a path (a string)"},
    {"ip", "an IP address such as \"10.0.0.1\""},
    {"socket_addr", "IP:PORT such as \"0.0.0.0:9000\""},
    {"object", "an object"},
    {"null", "null"},
    {"u16", "a whole number from 0 to 65535"},
    {"u32", "a whole number from 0 to 4294967295"},
    {"u64", "a whole number from 0 to 18446744073709551615"},
    {"i32", "a whole number from 0 to 2147483647"},
    {"i64", "a whole number"},
    {"string[]", "a list of strings"},
    {"u16[]", "a list of ports"},
    {"[u16,u16]", "a pair of ports such as [80, 8080]"},
    {"[u16,u16][]", "a list of port pairs such as [[80, 8080]]"},
    {"object[]", "a list of objects"},
    {"param_source", "the name of a variable or an object"},
    {"param_source[]", "a list of them"},
    {"quantity", "an amount such as \"100m\""},
};

std::string described(std::string_view type) {
  const auto found = std::ranges::find(kDescribed, type, &Described::type);
  if (found != std::end(kDescribed))
    return std::string(found->words);
  return type.starts_with("map<") ? "an object of names and values" : std::string(type);
}

// "a, b, c" for the words "a|b|c".
std::string listed(std::string_view words) {
  std::string text;
  any_part(words, "|", [&](std::string_view word) {
    text += (text.empty() ? "" : ", ") + std::string(word);
    return false;
  });
  return text;
}

// "a, b or c" for the type "x | y | z"; `allowed` are the words that a string may be.
std::string described_all(std::string_view types, std::string_view allowed) {
  std::string text;
  while (!types.empty()) {
    const std::size_t at = types.find(" | ");
    const bool is_last = at == std::string_view::npos;
    std::string words = described(types.substr(0, at));
    if (words == "true or false" && !is_last)
      words = "true, false";
    if (words == "a string" && !allowed.empty())
      words = "one of " + listed(allowed);
    text += (text.empty() ? "" : is_last ? " or " : ", ") + words;
    types = is_last ? std::string_view() : types.substr(at + 3);
  }
  return text;
}

// What is not as wanted: its type, and its value if it is short.
std::string found_text(const Node& node) {
  switch (node.type) {
    case Type::kBool:
      return node.boolean ? "true" : "false";
    case Type::kNumber:
      return "the number " + quotable(node.text);
    case Type::kString:
      return "the string \"" + quotable(node.text) + "\"";
    default:
      return std::string(node.type_name());
  }
}

bool has_alternative(std::string_view types, std::string_view wanted) {
  return any_part(types, " | ", [&](std::string_view type) { return type == wanted; });
}

// What to do about a value of a wrong type, where that is likely.
std::string type_hint(const Node& node, std::string_view types) {
  if (node.type == Type::kString) {
    if (has_alternative(types, "bool") && (node.text == "true" || node.text == "false"))
      return "Write " + node.text + " without quotes.";
    Node number;
    number.type = Type::kNumber;
    number.text = node.text;
    if (any_part(types, " | ", [&](std::string_view type) { return matches(number, type); }))
      return "Write " + node.text + " without quotes.";
    constexpr std::string_view kSwitches[] = {"on", "off", "yes", "no", "True", "False"};
    if (types == "bool" || (has_alternative(types, "bool") &&
                            std::ranges::find(kSwitches, node.text) != std::end(kSwitches)))
      return "Write true or false, without quotes.";
  }
  const bool is_scalar = node.type == Type::kNumber || node.type == Type::kBool;
  if (is_scalar && (types == "string" || types == "path" || types == "string | string[]"))
    return "Put it in double quotes.";
  if (node.type == Type::kNull)
    return "Give it a value, or remove it.";
  for (const std::string_view list : {"string[]", "u16[]", "object[]"}) {
    if (has_alternative(types, list) && matches(node, list.substr(0, list.size() - 2)))
      return "Put it in a list: [ … ].";
  }
  return "";
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
        unknown(member, pattern, shown, name);
    }
  }

 private:
  static bool is_free(const Key* key) { return key != nullptr && (key->marks & kFree) != 0; }

  void error(std::size_t offset, std::string_view name, const std::string& why, std::string hint) {
    errors_.push_back({ErrorCode::kConfig, key_place(file_, offset, name) + why, std::move(hint)});
  }

  void unknown(const Node::Member& member, std::string_view parent, const std::string& shown,
               const std::string& name) {
    std::string hint;
    std::string nearest(nearest_key(parent, member.key));
    if (member.key == "pause" && parent.empty()) {
      hint = "This key of old versions is gone; remove it.";
    } else if (!nearest.empty()) {
      if (!parent.empty() && nearest.starts_with(parent))
        nearest = shown + nearest.substr(parent.size());
      hint = "Did you mean `" + nearest + "`?";
    } else {
      const std::string keys = keys_below(parent);
      hint = keys.empty() ? "Remove it."
                          : "Remove it. Keys here: " + keys + ". See `mirrord config keys`.";
    }
    error(member.offset, name, "unknown key", std::move(hint));
  }

  // The value, or an item of a list, that is not of the type.
  void wrong_type(const Node& node, std::string_view types, const std::string& name,
                  std::string_view words = {}) {
    if (node.type == Type::kArray) {
      const bool is_item = any_part(types, " | ", [&](std::string_view type) {
        return type.ends_with("[]") && wrong_item(node, type.substr(0, type.size() - 2), name);
      });
      if (is_item)
        return;
    }
    error(node.offset, name,
          "expected " + described_all(types, words) + ", found " + found_text(node),
          words.empty() ? type_hint(node, types) : "");
  }

  bool wrong_item(const Node& list, std::string_view type, const std::string& name) {
    for (std::size_t i = 0; i < list.items.size(); ++i) {
      if (matches(list.items[i], type))
        continue;
      const std::string item = name + "[" + std::to_string(i) + "]";
      if (type == "[u16,u16]" && list.items[i].items.size() == 2)
        return wrong_item(list.items[i], "u16", item);
      wrong_type(list.items[i], type, item);
      return true;
    }
    return false;
  }

  void value(const Node& node, const Key& key, const std::string& pattern,
             const std::string& name) {
    if (node.type == Type::kNull)
      return;  // as if it were left out
    if (!any_part(key.type, " | ", [&](std::string_view type) { return matches(node, type); }))
      return wrong_type(node, key.type, name, key.words);
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
      wrong_type(node, "string", name);
  }

  void word(const Node& node, const Key& key, const std::string& name) {
    if (any_part(key.words, "|", [&](std::string_view known) { return known == node.text; }))
      return;
    net::Nearest nearest(node.text);
    any_part(key.words, "|", [&](std::string_view known) {
      nearest.offer(known);
      return false;
    });
    std::string hint;
    if (!nearest.found().empty())
      hint = "Did you mean `" + std::string(nearest.found()) + "`?";
    error(node.offset, name,
          "expected one of " + listed(key.words) + ", found `" + quotable(node.text) + "`",
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
  return file.name + ":" + position_text(file.text, offset) + ": `" + quotable(path) + "`: ";
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
