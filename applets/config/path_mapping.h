// applets/config/path_mapping.h — patterns with look-around (PCRE2): path mapping and names of
// environment variables.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "applets/config/config.h"

struct pcre2_real_code_8;

namespace mirrord::config {

struct FreeCode {
  void operator()(pcre2_real_code_8* code) const;
};
using CompiledPattern = std::unique_ptr<pcre2_real_code_8, FreeCode>;

// feature.fs.mapping: the first pattern that matches a path, in the file's order, rewrites it.
class PathMapping {
 public:
  static Result<PathMapping> create(const StringPairs& rules);

  // The path after the first rule that matches, or nothing.
  std::optional<std::string> map(std::string_view path) const;
  bool is_empty() const { return rules_.empty(); }

 private:
  struct Rule {
    CompiledPattern pattern;
    std::string replacement;
  };
  std::vector<Rule> rules_;
};

// A pattern that is searched for in names.
class NamePattern {
 public:
  static Result<NamePattern> create(std::string_view pattern);
  bool matches(std::string_view name) const;

 private:
  CompiledPattern pattern_;
};

}  // namespace mirrord::config
