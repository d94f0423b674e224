// applets/config/node.h — a parsed configuration file: values with the places they stand at.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "net/error.h"

namespace mirrord::config {

struct Node {
  enum class Type { kNull, kBool, kNumber, kString, kArray, kObject };
  struct Member;

  Type type = Type::kNull;
  bool boolean = false;
  std::string text;  // kString: the value; kNumber: its digits as written
  std::vector<Node> items;
  std::vector<Member> members;  // in the file's order
  std::size_t offset = 0;       // where it starts in the text

  const Node* member(std::string_view key) const;
  const Node* set_member(std::string_view key) const;  // null is like nothing
  const Node& at(std::string_view key) const;          // nothing is like null
  std::string_view type_name() const;
};

struct Node::Member {
  std::string key;
  std::size_t offset = 0;  // of the key
  Node value;
};

// "LINE:COLUMN" of a byte offset, both from 1; columns count bytes.
std::string position_text(std::string_view text, std::size_t offset);

// Strict JSON; `name` is the file's name for messages.
Result<Node> parse_json(std::string_view text, std::string_view name);

}  // namespace mirrord::config
