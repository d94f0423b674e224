// net/query/regex_dialect.h — Rust's regular expressions in PCRE2's words.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/error.h"

namespace mirrord::net {

struct TranslatedRegex {
  std::string pattern;  // for PCRE2_UTF without PCRE2_UCP
  // Offsets in `pattern` and where in the source each of them comes from, rising.
  std::vector<std::pair<std::size_t, std::size_t>> places;

  [[nodiscard]] std::size_t source_of(std::size_t offset) const;
};

Result<TranslatedRegex> translate_regex(std::string_view expression);

// "the regular expression `…` is invalid at character N: why".
std::unexpected<Error> regex_error(std::string_view expression, std::size_t at,
                                   std::string_view why);

// ---- one part of it: classes of characters

// What stands for one character. Inside brackets if `flat`, else an expression of its own.
struct CharacterSet {
  std::string text;
  bool is_flat = true;

  [[nodiscard]] std::string standing_alone() const { return is_flat ? "[" + text + "]" : text; }
};

// `name` is what stands between the braces of \p{…}; empty: unknown.
std::string unicode_property(std::string_view name, bool is_negated);
// 'd', 'w', 's', 'h' and their capitals.
CharacterSet shorthand(char letter);
// A character as it is written inside and outside of brackets.
std::string quoted_character(char32_t code);

}  // namespace mirrord::net
