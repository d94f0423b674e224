// net/query/regex.cpp — compiles a translated expression, and matches it within bounds.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "net/query/regex.h"

#include <pcre2.h>

#include <algorithm>
#include <array>

#include "net/query/regex_dialect.h"

namespace mirrord::net {
namespace {

// PCRE2 counts its steps anew for every place where a match could begin, so that its own limit bounds
// only one place. The clock is asked after every few of them.
constexpr std::uint32_t kStepsPerPlace = 20'000;
constexpr std::uint32_t kStepsPerByte = 4;
constexpr std::uint32_t kStepsBetweenChecks = 1'000'000;
constexpr std::size_t kPlacesBetweenChecks = 64;
constexpr std::uint32_t kHeapKibibytes = 8 * 1024;
constexpr std::uint32_t kDeepestParentheses = 200;

PCRE2_SPTR units(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

}  // namespace

void Regex::Free::operator()(pcre2_real_code_8* code) const {
  pcre2_code_free(code);
}
void Regex::Free::operator()(pcre2_real_match_data_8* data) const {
  pcre2_match_data_free(data);
}
void Regex::Free::operator()(pcre2_real_match_context_8* context) const {
  pcre2_match_context_free(context);
}

Result<Regex> Regex::compile(std::string_view expression, RegexCase letter_case) {
  if (expression.size() > kLongest)
    return fail(ErrorCode::kConfig,
                "the regular expression is longer than " + std::to_string(kLongest) + " bytes");
  MIRRORD_TRY(translated, translate_regex(expression));

  struct FreeCompile {
    void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
  };
  const std::unique_ptr<pcre2_compile_context, FreeCompile> context(
      pcre2_compile_context_create(nullptr));
  if (context == nullptr)
    return fail(ErrorCode::kSystem, "out of memory for a regular expression");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_bsr(context.get(), PCRE2_BSR_UNICODE);
  pcre2_set_parens_nest_limit(context.get(), kDeepestParentheses);
  std::uint32_t options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C |
                          PCRE2_DOLLAR_ENDONLY | PCRE2_USE_OFFSET_LIMIT;
  if (letter_case == RegexCase::kFold)
    options |= PCRE2_CASELESS;
  int code = 0;
  PCRE2_SIZE at = 0;
  Regex regex;
  regex.code_.reset(pcre2_compile(units(translated.pattern), translated.pattern.size(), options,
                                  &code, &at, context.get()));
  if (regex.code_ == nullptr) {
    std::array<PCRE2_UCHAR, 200> message{};
    pcre2_get_error_message(code, message.data(), message.size());
    return regex_error(expression, translated.source_of(at),
                       reinterpret_cast<const char*>(message.data()));
  }
  std::uint32_t in_force = 0;
  pcre2_pattern_info(regex.code_.get(), PCRE2_INFO_ALLOPTIONS, &in_force);
  regex.is_anchored_ = (in_force & PCRE2_ANCHORED) != 0;
  regex.data_.reset(pcre2_match_data_create(1, nullptr));  // where it matches is not asked
  regex.context_.reset(pcre2_match_context_create(nullptr));
  if (regex.data_ == nullptr || regex.context_ == nullptr)
    return fail(ErrorCode::kSystem, "out of memory for a regular expression");
  pcre2_set_heap_limit(regex.context_.get(), kHeapKibibytes);
  return regex;
}

bool Regex::search(std::string_view text, Effort& effort) const {
  const auto size = static_cast<std::uint32_t>(std::min<std::size_t>(text.size(), 1 << 28));
  const std::uint32_t steps = std::max(kStepsPerPlace, kStepsPerByte * size);
  const std::size_t places =
      std::clamp<std::size_t>(kStepsBetweenChecks / steps, 1, kPlacesBetweenChecks);
  pcre2_set_match_limit(context_.get(), steps);
  std::size_t from = 0;
  while (true) {
    if (effort.is_spent())
      return false;
    std::size_t next = is_anchored_ ? text.size() : std::min(from + places, text.size());
    while (next < text.size() && is_continuation(text[next]))
      ++next;
    const bool is_last = next == text.size();
    pcre2_set_offset_limit(context_.get(), is_last ? text.size() : next - 1);
    const int result =
        pcre2_match(code_.get(), units(text), text.size(), from, 0, data_.get(), context_.get());
    if (result >= 0)
      return true;
    if (result != PCRE2_ERROR_NOMATCH) {
      effort.give_up();  // a limit
      return false;
    }
    if (is_last)
      return false;
    from = next;
  }
}

}  // namespace mirrord::net
