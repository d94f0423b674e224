// applets/config/pattern.cpp — the parser of path patterns.
#include "applets/config/pattern.h"

#include <algorithm>
#include <charconv>

#include "applets/config/code_ranges.h"

namespace mirrord::config {
namespace {

using Kind = Pattern::Kind;

constexpr std::size_t kLongestPattern = 4096;
constexpr int kDeepest = 50;
constexpr uint32_t kMostRepeats = 1000;

Pattern one_of(CodeRanges ranges) {
  Pattern pattern;
  pattern.kind = Kind::kClass;
  pattern.ranges = std::move(ranges);
  return pattern;
}

Pattern assertion(Kind kind) {
  Pattern pattern;
  pattern.kind = kind;
  return pattern;
}

struct Flags {
  bool fold = true;       // i
  bool dot_line = false;  // s: `.` matches a line break too
};

class Parser {
 public:
  Parser(std::string_view text, LetterCase letter_case) : text_(text) {
    flags_.fold = letter_case == LetterCase::kFold;
  }

  Result<Pattern> run() {
    if (text_.size() > kLongestPattern)
      return error("it is longer than " + std::to_string(kLongestPattern) + " bytes");
    MIRRORD_TRY(pattern, alternation(0));
    if (!at_end())
      return error("a `)` without its `(`");
    return pattern;
  }

 private:
  std::unexpected<Error> error(const std::string& why, std::string hint = {}) const {
    if (hint.empty())
      hint =
          "Patterns are regular expressions; write a literal special character as \\\\. in "
          "JSON.";
    return fail(ErrorCode::kConfig,
                "invalid pattern `" + std::string(text_.substr(0, 200)) + "`: " + why,
                std::move(hint));
  }
  std::unexpected<Error> unsupported(const std::string& what) const {
    return error(what + " cannot be used in path patterns",
                 "Write the pattern without it, or as several patterns.");
  }

  bool at_end() const { return at_ >= text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  bool starts(std::string_view word) const { return text_.substr(at_).starts_with(word); }
  bool take(std::string_view word) {
    if (!starts(word))
      return false;
    at_ += word.size();
    return true;
  }

  Result<Pattern> alternation(int depth);
  Result<Pattern> sequence(int depth);
  Result<Pattern> atom(int depth);
  Result<Pattern> group(int depth);
  Result<Pattern> flag_group(int depth);
  Result<Pattern> escape();
  Result<Pattern> repeated(Pattern inner);
  Result<CodeRanges> bracket(int depth);
  Status bracket_item(CodeRanges& ranges, int depth);
  Result<CodeRanges> class_escape();
  Result<uint32_t> single();
  Result<uint32_t> code_escape(char letter);
  bool number(uint32_t& value);
  Pattern literal(uint32_t code) const;
  uint32_t next_code();

  std::string_view text_;
  std::size_t at_ = 0;
  Flags flags_;
};

// One UTF-8 character; a byte that is not UTF-8 stands for itself.
uint32_t Parser::next_code() {
  const auto byte = [this](std::size_t i) {
    return at_ + i < text_.size() ? static_cast<unsigned char>(text_[at_ + i]) : 0U;
  };
  const uint32_t first = byte(0);
  const int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC2 ? 1 : 0;
  uint32_t code = more == 0 ? first : first & (0x3FU >> more);
  for (int i = 1; i <= more; ++i) {
    if ((byte(static_cast<std::size_t>(i)) & 0xC0) != 0x80) {
      ++at_;
      return kRawByte + first;
    }
    code = (code << 6) | (byte(static_cast<std::size_t>(i)) & 0x3F);
  }
  at_ += static_cast<std::size_t>(more) + 1;
  return more == 0 && first >= 0x80 ? kRawByte + first : code;
}

Pattern Parser::literal(uint32_t code) const {
  CodeRanges ranges{{code, code}};
  if (flags_.fold)
    add_other_case(ranges);
  return one_of(std::move(ranges));
}

Result<Pattern> Parser::alternation(int depth) {
  if (depth > kDeepest)
    return error("nested too deeply");
  const Flags before = flags_;
  MIRRORD_TRY(first, sequence(depth));
  if (peek() != '|') {
    flags_ = before;
    return first;
  }
  Pattern pattern;
  pattern.kind = Kind::kAlternate;
  pattern.parts.push_back(std::move(first));
  while (take("|")) {
    MIRRORD_TRY(next, sequence(depth));
    pattern.parts.push_back(std::move(next));
  }
  flags_ = before;
  return pattern;
}

Result<Pattern> Parser::sequence(int depth) {
  Pattern pattern;
  pattern.kind = Kind::kConcat;
  while (!at_end() && peek() != '|' && peek() != ')') {
    MIRRORD_TRY(part, atom(depth));
    MIRRORD_TRY(whole, repeated(std::move(part)));
    pattern.parts.push_back(std::move(whole));
  }
  return pattern;
}

Result<Pattern> Parser::atom(int depth) {
  const char c = peek();
  switch (c) {
    case '(':
      ++at_;
      return group(depth);
    case '[': {
      ++at_;
      MIRRORD_TRY(ranges, bracket(depth));
      return one_of(std::move(ranges));
    }
    case '\\':
      ++at_;
      return escape();
    case '.':
      ++at_;
      return one_of(flags_.dot_line ? CodeRanges{{0, kLastCode}}
                                    : CodeRanges{{0, '\n' - 1}, {'\n' + 1, kLastCode}});
    case '^':
      ++at_;
      return assertion(Kind::kBegin);
    case '$':
      ++at_;
      return assertion(Kind::kEnd);
    case '*':
    case '+':
    case '?':
    case '{':
      return error(std::string("nothing stands before `") + c + "` to repeat");
    default:
      return literal(next_code());
  }
}

bool Parser::number(uint32_t& value) {
  const char* begin = text_.data() + at_;
  const auto [end, code] = std::from_chars(begin, text_.data() + text_.size(), value);
  at_ += static_cast<std::size_t>(end - begin);
  return code == std::errc();
}

Result<Pattern> Parser::repeated(Pattern inner) {
  while (!at_end()) {
    uint32_t least = 0;
    uint32_t most = Pattern::kUnlimited;
    if (take("*")) {
    } else if (take("+")) {
      least = 1;
    } else if (take("?")) {
      most = 1;
    } else if (take("{")) {
      const bool has_least = number(least);
      const bool is_range = take(",");
      if (!is_range)
        most = least;
      else if (peek() != '}' && !number(most))
        return error("a wrong number after `{`");
      if ((!has_least && (!is_range || most == Pattern::kUnlimited)) || !take("}") || most < least)
        return error("repetitions are written {2}, {2,} or {2,5}");
      if (least > kMostRepeats || (most != Pattern::kUnlimited && most > kMostRepeats))
        return error("more than " + std::to_string(kMostRepeats) + " repetitions");
    } else {
      break;
    }
    take("?");  // reluctant or not, the same texts match
    Pattern outer;
    outer.kind = Kind::kRepeat;
    outer.least = least;
    outer.most = most;
    outer.parts.push_back(std::move(inner));
    inner = std::move(outer);
  }
  return inner;
}

Result<Pattern> Parser::group(int depth) {
  for (const std::string_view look : {"?=", "?!", "?<=", "?<!"}) {
    if (starts(look))
      return unsupported("look-around `(" + std::string(look) + "…)`");
  }
  if (take("?P<") || take("?<")) {
    const std::size_t close = text_.find('>', at_);
    if (close == std::string_view::npos || close == at_)
      return error("a group's name has no end");
    at_ = close + 1;
  } else if (take("?")) {
    return flag_group(depth);
  }
  MIRRORD_TRY(inner, alternation(depth + 1));
  if (!take(")"))
    return error("a `(` without its `)`");
  return inner;
}

// After "(?": flags, then `)` or `:`.
Result<Pattern> Parser::flag_group(int depth) {
  const Flags before = flags_;
  bool value = true;
  for (; !at_end() && peek() != ':' && peek() != ')'; ++at_) {
    const char flag = peek();
    if (flag == '-')
      value = false;
    else if (flag == 'i')
      flags_.fold = value;
    else if (flag == 's')
      flags_.dot_line = value;
    else if (flag != 'u' && flag != 'U')
      return unsupported(std::string("the flag `") + flag + "`");
  }
  if (take(")"))
    return Pattern{};
  if (!take(":"))
    return error("a `(` without its `)`");
  MIRRORD_TRY(inner, alternation(depth + 1));
  flags_ = before;
  if (!take(")"))
    return error("a `(` without its `)`");
  return inner;
}

Result<Pattern> Parser::escape() {
  switch (peek()) {
    case 'A':
      ++at_;
      return assertion(Kind::kBegin);
    case 'z':
      ++at_;
      return assertion(Kind::kEnd);
    case 'b':
      ++at_;
      if (starts("{"))
        return unsupported("`\\b{…}`");
      return assertion(Kind::kWordEdge);
    case 'B':
      ++at_;
      return assertion(Kind::kNotWordEdge);
    default:
      break;
  }
  if (std::string_view("dDsSwWpP").find(peek()) != std::string_view::npos && !at_end()) {
    MIRRORD_TRY(ranges, class_escape());
    return one_of(std::move(ranges));
  }
  MIRRORD_TRY(code, code_escape(peek()));
  return literal(code);
}

Result<CodeRanges> Parser::class_escape() {
  const char letter = text_[at_++];
  CodeRanges ranges;
  switch (letter) {
    case 'd':
    case 'D':
      ranges = digit_ranges();
      break;
    case 's':
    case 'S':
      ranges = space_ranges();
      break;
    case 'w':
    case 'W':
      ranges = word_ranges();
      break;
    default:
      return unsupported(std::string("the Unicode class `\\") + letter + "`");
  }
  return letter < 'a' ? complement(ranges) : ranges;
}

// After a backslash: the character that it stands for.
Result<uint32_t> Parser::code_escape(char letter) {
  if (at_end())
    return error("it ends in a backslash");
  constexpr std::pair<char, char> kLetters[] = {{'n', '\n'}, {'t', '\t'}, {'r', '\r'},
                                                {'f', '\f'}, {'v', '\v'}, {'a', '\a'}};
  for (const auto& [name, value] : kLetters) {
    if (letter == name) {
      ++at_;
      return static_cast<uint32_t>(value);
    }
  }
  if (letter >= '0' && letter <= '9')
    return unsupported(std::string("the back-reference `\\") + letter + "`");
  if (letter == 'x' || letter == 'u' || letter == 'U') {
    ++at_;
    std::size_t length = letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
    std::size_t skip = 0;
    if (take("{")) {
      const std::size_t close = text_.find('}', at_);
      length = close == std::string_view::npos ? 0 : close - at_;
      skip = 1;
    }
    const std::string_view digits = text_.substr(at_, length);
    uint32_t code = 0;
    const auto [end, result] =
        std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    if (result != std::errc() || end != digits.data() + digits.size() || digits.size() != length ||
        code > kLastCode)
      return error("a wrong hexadecimal escape");
    at_ += length + skip;
    return code;
  }
  const bool is_letter = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
                         letter == '<' || letter == '>';
  if (is_letter)
    return error(std::string("an unknown escape `\\") + letter + "`");
  return next_code();
}

// After "[".
Result<CodeRanges> Parser::bracket(int depth) {
  if (depth > kDeepest)
    return error("nested too deeply");
  const bool negated = take("^");
  CodeRanges ranges;
  if (take("]"))
    ranges.push_back({']', ']'});
  while (!take("]")) {
    if (at_end())
      return error("a `[` without its `]`");
    for (const std::string_view sign : {"&&", "--", "~~"}) {
      if (starts(sign) && !(sign == "--" && ranges.empty()))
        return unsupported("the set operation `" + std::string(sign) + "`");
    }
    MIRRORD_CHECK_STATUS(bracket_item(ranges, depth));
  }
  normalise(ranges);
  if (flags_.fold)
    add_other_case(ranges);
  return negated ? complement(ranges) : ranges;
}

Status Parser::bracket_item(CodeRanges& ranges, int depth) {
  CodeRanges inner;
  if (take("[:")) {
    const std::size_t close = text_.find(":]", at_);
    const bool negated = take("^");
    if (close != std::string_view::npos && close >= at_)
      inner = posix_ranges(text_.substr(at_, close - at_));
    if (inner.empty())
      return error("an unknown class `[:…:]`");
    if (negated)
      inner = complement(inner);
    at_ = close + 2;
  } else if (take("[")) {
    MIRRORD_TRY(nested, bracket(depth + 1));
    inner = std::move(nested);
  } else if (at_ + 1 < text_.size() && peek() == '\\' &&
             std::string_view("dDsSwWpP").find(text_[at_ + 1]) != std::string_view::npos) {
    ++at_;
    MIRRORD_TRY(escaped, class_escape());
    inner = std::move(escaped);
  } else {
    MIRRORD_TRY(first, single());
    uint32_t last = first;
    const bool is_range = peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']';
    if (is_range && text_[at_ + 1] != '-') {
      ++at_;
      MIRRORD_TRY(end, single());
      last = end;
    }
    if (last < first)
      return error("a range that ends before it begins");
    inner.push_back({first, last});
  }
  ranges.insert(ranges.end(), inner.begin(), inner.end());
  return {};
}

Result<uint32_t> Parser::single() {
  if (!take("\\"))
    return next_code();
  if (peek() == 'b')
    return error("an unknown escape `\\b` in a class");
  return code_escape(peek());
}

}  // namespace

Result<Pattern> parse_pattern(std::string_view text, LetterCase letter_case) {
  return Parser(text, letter_case).run();
}

Status check_pattern(std::string_view text) {
  auto parsed = parse_pattern(text, LetterCase::kFold);
  if (!parsed)
    return std::unexpected(std::move(parsed).error());
  return {};
}

std::string quote_pattern(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\.+*?()|[]{}^$#&-~").find(c) != std::string_view::npos)
      out += '\\';
    out += c;
  }
  return out;
}

}  // namespace mirrord::config
