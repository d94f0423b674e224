// applets/config/keys.h — the table of all configuration keys: the one place that states a key's
// type, default, environment variable and flag.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mirrord::config {

enum KeyMarks : uint8_t {
  kOperator = 1,  // needs the Kubernetes operator
  kDeprecated = 2,
  kUnstable = 4,
  kFree = 8,  // keys below that are not in the table are accepted
};

struct Key {
  std::string_view path;
  std::string_view type;  // alternatives separated by " | "
  std::string_view default_text;
  std::string_view environment;
  std::string_view flag;
  std::string_view words;  // allowed words separated by '|'; empty: any
  int marks;
  std::string_view meaning;
};

std::span<const Key> all_keys();
const Key* find_key(std::string_view path);
bool has_children(std::string_view path);
// The names of the keys right below `parent`, with commas between them.
std::string keys_below(std::string_view parent);
// A key below `parent` spelt almost like `name`, or `name` elsewhere; empty if there is none.
std::string_view nearest_key(std::string_view parent, std::string_view name);

}  // namespace mirrord::config
