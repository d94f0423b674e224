// applets/config/path_mapping.cpp — compiles and applies patterns with a bound on their work.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "applets/config/path_mapping.h"

#include <pcre2.h>

#include <array>

namespace mirrord::config {
namespace {

constexpr uint32_t kMatchLimit = 200'000;

struct FreeMatch {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct FreeContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
using MatchData = std::unique_ptr<pcre2_match_data, FreeMatch>;
using MatchContext = std::unique_ptr<pcre2_match_context, FreeContext>;

PCRE2_SPTR units(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

Result<CompiledPattern> compile(std::string_view pattern, uint32_t options) {
  int code = 0;
  PCRE2_SIZE at = 0;
  CompiledPattern compiled(
      pcre2_compile(units(pattern), pattern.size(),
                    options | PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C, &code,
                    &at, nullptr));
  if (compiled != nullptr)
    return compiled;
  std::array<PCRE2_UCHAR, 160> message{};
  pcre2_get_error_message(code, message.data(), message.size());
  return fail(ErrorCode::kConfig,
              "invalid pattern `" + std::string(pattern) +
                  "`: " + reinterpret_cast<const char*>(message.data()) + " at character " +
                  std::to_string(at),
              "Expressions are Rust's; in JSON a backslash is written twice.");
}

// The match's capture offsets, or null.
MatchData find(const pcre2_code* pattern, std::string_view text) {
  MatchData data(pcre2_match_data_create_from_pattern(pattern, nullptr));
  const MatchContext context(pcre2_match_context_create(nullptr));
  if (data == nullptr || context == nullptr)
    return nullptr;
  pcre2_set_match_limit(context.get(), kMatchLimit);
  const int count = pcre2_match(pattern, units(text), text.size(), 0, 0, data.get(), context.get());
  return count > 0 ? std::move(data) : nullptr;
}

class Expansion {
 public:
  Expansion(const pcre2_code* pattern, pcre2_match_data* data, std::string_view text)
      : pattern_(pattern), data_(data), text_(text) {}

  // `$1`, `$name`, `${name}` and `$$`; a group that is not there is empty.
  std::string expand(std::string_view replacement) const {
    std::string out;
    for (std::size_t i = 0; i < replacement.size(); ++i) {
      if (replacement[i] != '$' || i + 1 >= replacement.size()) {
        out += replacement[i];
        continue;
      }
      if (replacement[i + 1] == '$') {
        out += replacement[++i];
        continue;
      }
      const bool braced = replacement[i + 1] == '{';
      const std::size_t begin = i + (braced ? 2 : 1);
      std::size_t end = begin;
      while (end < replacement.size() &&
             (braced ? replacement[end] != '}' : is_name_letter(replacement[end])))
        ++end;
      if (end == begin || (braced && end >= replacement.size())) {
        out += replacement[i];
        continue;
      }
      out += group(replacement.substr(begin, end - begin));
      i = braced ? end : end - 1;
    }
    return out;
  }

 private:
  static bool is_name_letter(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  }

  std::string_view group(std::string_view name) const {
    int number = 0;
    if (name.find_first_not_of("0123456789") == std::string_view::npos && name.size() < 6) {
      for (const char digit : name)
        number = number * 10 + (digit - '0');
    } else {
      number = pcre2_substring_number_from_name(pattern_, units(std::string(name)));
    }
    if (number < 0 || static_cast<uint32_t>(number) >= pcre2_get_ovector_count(data_))
      return {};
    const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data_);
    const PCRE2_SIZE begin = offsets[2 * number];
    if (begin == PCRE2_UNSET)
      return {};
    return text_.substr(begin, offsets[2 * number + 1] - begin);
  }

  const pcre2_code* pattern_;
  pcre2_match_data* data_;
  std::string_view text_;
};

}  // namespace

void FreeCode::operator()(pcre2_real_code_8* code) const {
  pcre2_code_free(code);
}

Result<PathMapping> PathMapping::create(const StringPairs& rules) {
  PathMapping mapping;
  for (const auto& [pattern, replacement] : rules) {
    MIRRORD_TRY(compiled, compile(pattern, PCRE2_CASELESS));
    mapping.rules_.push_back({std::move(compiled), replacement});
  }
  return mapping;
}

std::optional<std::string> PathMapping::map(std::string_view path) const {
  for (const Rule& rule : rules_) {
    const MatchData data = find(rule.pattern.get(), path);
    if (data == nullptr)
      continue;
    const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data.get());
    std::string out(path.substr(0, offsets[0]));
    out += Expansion(rule.pattern.get(), data.get(), path).expand(rule.replacement);
    out += path.substr(offsets[1]);
    return out;
  }
  return std::nullopt;
}

Result<NamePattern> NamePattern::create(std::string_view pattern) {
  NamePattern name;
  MIRRORD_TRY(compiled, compile(pattern, 0));
  name.pattern_ = std::move(compiled);
  return name;
}

bool NamePattern::matches(std::string_view name) const {
  return find(pattern_.get(), name) != nullptr;
}

}  // namespace mirrord::config
