// applets/config/check.h — holds a configuration file against the table of keys.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "applets/config/node.h"

namespace mirrord::config {

// A file's text and tree, as long as it is being resolved.
struct File {
  std::string name;
  std::string text;  // rendered
  Node root;
};

// "NAME:LINE:COLUMN: `path`: " for messages about a key.
std::string key_place(const File& file, std::size_t offset, std::string_view path);

// Appends an error for every unknown key, wrong type and word that is not allowed.
void check_keys(const File& file, std::vector<Error>& errors);

// The value at a dotted path, or null: also when a shorter form stands there.
const Node* find_node(const Node& root, std::string_view path);

// A decimal integer within [0, limit].
bool parse_unsigned(std::string_view text, uint64_t limit, uint64_t& value);

}  // namespace mirrord::config
