// applets/config/values.h — one key's value from flag, environment, file or default.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "applets/config/check.h"
#include "applets/config/keys.h"
#include "applets/config/load.h"

namespace mirrord::config {

class Values {
 public:
  // `file` may be null.
  Values(const LoadRequest& request, const File* file, std::vector<Error>& errors)
      : request_(request), file_(file), errors_(errors) {}

  // A flag's or environment variable's text, and what to call it in a message.
  struct Outside {
    std::string text;
    std::string source;
  };
  std::optional<Outside> outside(std::string_view path) const;
  std::optional<Outside> outside_variable(std::string_view variable) const;

  const Node* node(std::string_view path) const;

  // Where the value is not set, `bool` short forms of the objects above count (kShort), then the
  // table's default.
  enum class Above { kIgnore, kShort };
  bool boolean(std::string_view path, Above above = Above::kShort);
  std::optional<bool> maybe_boolean(std::string_view path);
  uint64_t number(std::string_view path);
  std::optional<uint64_t> maybe_number(std::string_view path);
  std::string text(std::string_view path);
  std::vector<std::string> list(std::string_view path);
  StringPairs map(std::string_view path) const;

  // Reports an error about a key: with its place if it stands in the file.
  void error(std::string_view path, const std::string& why, std::string hint = {});
  void error_at(const Node& node, std::string_view path, const std::string& why,
                std::string hint = {});
  // The same, at the item of a list, or the member of a map, that is `text`.
  void error_of(std::string_view path, std::string_view text, const std::string& why,
                std::string hint = {});
  // Some of them may follow from others.
  bool has_errors() const { return !errors_.empty(); }
  std::optional<bool> boolean_text(const Outside& value);

 private:
  void bad_outside(const Outside& value, const std::string& why);

  const LoadRequest& request_;
  const File* file_;
  std::vector<Error>& errors_;
};

std::vector<std::string> split_list(std::string_view text);

}  // namespace mirrord::config
