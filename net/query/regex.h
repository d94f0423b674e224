// net/query/regex.h — regular expressions in the dialect of Rust's fancy-regex, on PCRE2.
//
// What people write for mirrord is Rust's syntax (Unicode classes, nested classes and set operations)
// with look-around, back-references, atomic groups, possessive repetitions and conditionals. It is
// translated; what PCRE2 cannot do in the same sense is refused by name: CRLF mode `(?R)`, bytes
// `(?-u)`, subroutine calls, absent groups, conditions other than a group or a look-around.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "net/error.h"
#include "net/query/effort.h"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;

namespace mirrord::net {

enum class RegexCase { kExact, kFold };

// Not for several threads at once.
class Regex {
 public:
  static constexpr std::size_t kLongest = 16 * 1024;

  // The error quotes the expression and says at which character of it something is wrong.
  static Result<Regex> compile(std::string_view expression, RegexCase letter_case);

  // Whether it matches anywhere in `text`, which need not be UTF-8. False, and the effort spent, if
  // that takes too long to find out.
  [[nodiscard]] bool search(std::string_view text, Effort& effort) const;

 private:
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
    void operator()(pcre2_real_match_data_8* data) const;
    void operator()(pcre2_real_match_context_8* context) const;
  };
  Regex() = default;

  std::unique_ptr<pcre2_real_code_8, Free> code_;
  std::unique_ptr<pcre2_real_match_data_8, Free> data_;
  std::unique_ptr<pcre2_real_match_context_8, Free> context_;
  bool is_anchored_ = false;
};

}  // namespace mirrord::net
