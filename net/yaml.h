// net/yaml.h — a reader of YAML texts: values with the places they stand at.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "net/error.h"

namespace mirrord::net {

// A value of a YAML text. Plain scalars have the type that the core schema of YAML 1.2 (§10.3)
// gives them, so `yes`, `on` and `012` mean a text, a text and twelve.
struct YamlNode {
  enum class Type { kNull, kBool, kNumber, kString, kSequence, kMapping };
  struct Member;

  Type type = Type::kNull;
  bool boolean = false;
  std::string text;             // kString: the value; kNumber: decimal, as JSON writes one
  std::vector<YamlNode> items;  // of a sequence
  std::vector<Member> members;  // of a mapping, in the text's order
  std::size_t offset = 0;       // byte where it starts in the text

  [[nodiscard]] const YamlNode* member(std::string_view key) const;
};

struct YamlNode::Member {
  std::string key;
  std::size_t offset = 0;  // of the key
  YamlNode value;
};

// UTF-8 without a byte order mark; UTF-16 and UTF-8 that begin with one are converted.
Result<std::string> to_utf8(std::string bytes, std::string_view name);

// The documents of `text`, which is UTF-8. Anchors, aliases and merge keys (`<<`) are resolved;
// depth and the number of values, copies included, are bounded. Keys are scalars, each once.
// Errors begin with "`name`:LINE:COLUMN".
Result<std::vector<YamlNode>> parse_yaml(std::string_view text, std::string_view name);

}  // namespace mirrord::net
