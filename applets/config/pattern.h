// applets/config/pattern.h — path patterns: regular expressions without look-around and
// back-references, so that they can become a table.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "net/error.h"

namespace mirrord::config {

struct CodeRange {
  uint32_t first, last;
  bool operator==(const CodeRange&) const = default;
};

// What a pattern says, as a tree.
struct Pattern {
  enum class Kind {
    kEmpty,
    kClass,      // one character of `ranges` (sorted, disjoint; may be empty: never)
    kConcat,     // `parts` one after the other
    kAlternate,  // one of `parts`
    kRepeat,     // parts[0], `least` to `most` times
    kBegin,      // the text's begin
    kEnd,        // the text's end
    kWordEdge,
    kNotWordEdge,
  };
  static constexpr uint32_t kUnlimited = UINT32_MAX;

  Kind kind = Kind::kEmpty;
  std::vector<CodeRange> ranges;
  std::vector<Pattern> parts;
  uint32_t least = 0;
  uint32_t most = 0;

  bool operator==(const Pattern&) const = default;
};

enum class LetterCase { kFold, kExact };

// An error quotes the pattern and names what is not understood in it.
Result<Pattern> parse_pattern(std::string_view text, LetterCase letter_case);

// Parses and throws away.
Status check_pattern(std::string_view text);

// The pattern that matches exactly `text`.
std::string quote_pattern(std::string_view text);

}  // namespace mirrord::config
