// net/query/regex_dialect.cpp — the translator: one pass over the expression.
#include "net/query/regex_dialect.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "net/query/json.h"

namespace mirrord::net {
namespace {

constexpr int kDeepest = 100;
constexpr unsigned kMostRepeats = 65'535;  // PCRE2's own
constexpr std::size_t kLargestClass = 65'536;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_blank(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

class Translator {
 public:
  explicit Translator(std::string_view text) : text_(text) {}

  Result<TranslatedRegex> run() {
    MIRRORD_CHECK_STATUS(expression(0));
    if (!at_end())
      return error("a `)` without its `(`");
    return std::move(out_);
  }

 private:
  std::unexpected<Error> error(std::string_view why) const { return regex_error(text_, at_, why); }
  std::unexpected<Error> unsupported(std::string_view what) const {
    return error(std::string(what) + " cannot be used here");
  }

  bool at_end() const { return at_ >= text_.size(); }
  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool starts(std::string_view word) const { return text_.substr(at_).starts_with(word); }
  bool take(std::string_view word) {
    if (!starts(word))
      return false;
    at_ += word.size();
    return true;
  }
  void emit(std::string_view text) {
    out_.places.emplace_back(out_.pattern.size(), at_);
    out_.pattern += text;
  }

  Status expression(int depth);
  Result<bool> element(int depth);
  Status repetition();
  bool bounds(unsigned& least, std::optional<unsigned>& most);
  void skip_comments();

  Status group(int depth);
  Status group_body(std::string_view opening, int depth);
  Status named_group(char end, int depth);
  Status flags(int depth);
  Status conditional(int depth);

  Result<bool> escape();
  Status word_edge(char letter);
  Status back_reference();
  Status reference_to(std::string_view name);
  Result<std::string_view> until(char end, std::string_view what);

  Result<char32_t> character();
  Result<char32_t> escaped_character();
  Result<char32_t> hexadecimal(std::size_t length);
  Result<std::string> property();

  Result<CharacterSet> bracket(int depth);
  Result<CharacterSet> bracket_union(bool is_first, int depth);
  Status bracket_item(std::string& flat, std::vector<std::string>& others, int depth);

  std::string_view text_;
  std::size_t at_ = 0;
  TranslatedRegex out_;
  bool is_extended_ = false;  // (?x)
  unsigned groups_ = 0;
  std::map<std::string, unsigned, std::less<>> names_;
};

// ---- sequences and repetitions

// Up to the end or an unopened `)`.
Status Translator::expression(int depth) {
  if (depth > kDeepest)
    return error("nested too deeply");
  while (true) {
    skip_comments();
    if (at_end() || peek() == ')')
      return {};
    MIRRORD_TRY(is_repeatable, element(depth));
    if (is_repeatable)
      MIRRORD_CHECK_STATUS(repetition());
  }
}

void Translator::skip_comments() {
  while (!at_end()) {
    if (starts("(?#")) {
      const std::size_t close = text_.find(')', at_);
      at_ = close == std::string_view::npos ? text_.size() : close + 1;
    } else if (is_extended_ && is_blank(peek())) {
      ++at_;
    } else if (is_extended_ && peek() == '#') {
      const std::size_t line = text_.find('\n', at_);
      at_ = line == std::string_view::npos ? text_.size() : line + 1;
    } else {
      return;
    }
  }
}

// Whether a repetition may follow.
Result<bool> Translator::element(int depth) {
  const char c = peek();
  switch (c) {
    case '|':
      emit("|");
      ++at_;
      return false;
    case '.':
    case '^':
    case '$':
      emit({&c, 1});
      ++at_;
      return true;
    case '(': {
      const bool is_flags_only = starts("(?") && !starts("(?P") && [this] {
        const std::size_t end = text_.find_first_of("):(<=!>", at_ + 2);
        return end != std::string_view::npos && text_[end] == ')';
      }();
      MIRRORD_CHECK_STATUS(group(depth));
      return !is_flags_only;
    }
    case '[': {
      ++at_;
      MIRRORD_TRY(set, bracket(depth));
      emit(set.standing_alone());
      return true;
    }
    case '\\':
      return escape();
    case '*':
    case '+':
    case '?':
      return error(std::string("nothing stands before `") + c + "` to repeat");
    default: {
      MIRRORD_TRY(code, character());
      emit(quoted_character(code));
      return true;
    }
  }
}

// "{2}", "{2,}", "{,5}" and "{2,5}"; anything else is no repetition.
bool Translator::bounds(unsigned& least, std::optional<unsigned>& most) {
  const std::size_t close = text_.find('}', at_);
  if (!starts("{") || close == std::string_view::npos)
    return false;
  const std::string_view inner = text_.substr(at_ + 1, close - at_ - 1);
  const std::size_t comma = inner.find(',');
  const auto number = [](std::string_view digits, unsigned& value) {
    const auto [end, result] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (result == std::errc::result_out_of_range)
      value = kMostRepeats + 1;
    return !digits.empty() && end == digits.data() + digits.size();
  };
  const std::string_view low = inner.substr(0, comma);
  if (comma == std::string_view::npos) {
    if (!number(low, least))
      return false;
    most = least;
  } else {
    const std::string_view high = inner.substr(comma + 1);
    unsigned value = 0;
    if ((low.empty() && high.empty()) || (!low.empty() && !number(low, least)) ||
        (!high.empty() && !number(high, value)))
      return false;
    if (!high.empty())
      most = value;
  }
  at_ = close + 1;
  return true;
}

Status Translator::repetition() {
  skip_comments();
  unsigned least = 0;
  std::optional<unsigned> most;
  if (peek() == '*' || peek() == '+' || peek() == '?') {
    emit(text_.substr(at_, 1));
    ++at_;
  } else if (bounds(least, most)) {
    if (least > kMostRepeats || most.value_or(0) > kMostRepeats)
      return error("more than " + std::to_string(kMostRepeats) + " repetitions");
    if (most && *most < least)
      return error("a repetition whose end is before its beginning");
    emit("{" + std::to_string(least) + "," + (most ? std::to_string(*most) : "") + "}");
  } else {
    return {};
  }
  if (peek() == '?' || peek() == '+') {  // reluctant; possessive
    emit(text_.substr(at_, 1));
    ++at_;
  }
  skip_comments();
  if (peek() == '*' || peek() == '+' || peek() == '?')
    return error("a repetition of a repetition");
  return {};
}

// ---- groups

Status Translator::group_body(std::string_view opening, int depth) {
  const bool was_extended = is_extended_;
  emit(opening);
  MIRRORD_CHECK_STATUS(expression(depth + 1));
  if (!take(")"))
    return error("a `(` without its `)`");
  emit(")");
  is_extended_ = was_extended;
  return {};
}

Status Translator::group(int depth) {
  if (starts("(*"))
    return unsupported("a control verb `(*…)`");
  if (!starts("(?")) {
    ++at_;
    ++groups_;
    return group_body("(", depth);
  }
  for (const std::string_view opening : {"(?=", "(?!", "(?<=", "(?<!", "(?>", "(?:"}) {
    if (take(opening))
      return group_body(opening, depth);
  }
  if (take("(?P<") || take("(?<"))
    return named_group('>', depth);
  if (take("(?P=")) {
    MIRRORD_TRY(name, until(')', "a back-reference"));
    return reference_to(name);
  }
  if (starts("(?("))
    return conditional(depth);
  struct Foreign {
    std::string_view opening, name;
  };
  constexpr Foreign kForeign[] = {
      {"(?P>", "a subroutine call `(?P>…)`"}, {"(?&", "a subroutine call `(?&…)`"},
      {"(?|", "a branch reset `(?|…)`"},      {"(?~", "an absent group `(?~…)`"},
      {"(?C", "a callout `(?C…)`"},           {"(?'", "a name in quotes `(?'…'…)`"},
      {"(?R", "the flag R (CRLF mode)"}};
  for (const auto& [opening, name] : kForeign) {
    if (starts(opening))
      return unsupported(name);
  }
  at_ += 2;
  return flags(depth);
}

Result<std::string_view> Translator::until(char end, std::string_view what) {
  const std::size_t close = text_.find(end, at_);
  if (close == std::string_view::npos || close == at_)
    return error(std::string(what) + " without its end");
  const std::string_view inside = text_.substr(at_, close - at_);
  at_ = close + 1;
  return inside;
}

Status Translator::named_group(char end, int depth) {
  MIRRORD_TRY(name, until(end, "the name of a group"));
  for (const char c : name) {
    if (!is_letter(c) && !is_digit(c) && c != '_' && c != '.' && c != '[' && c != ']')
      return error("a group's name `" + std::string(name) + "` of other than letters and digits");
  }
  if (!names_.emplace(name, ++groups_).second)
    return error("a second group named `" + std::string(name) + "`");
  return group_body("(", depth);
}

// After "(?".
Status Translator::flags(int depth) {
  std::string on, off;
  bool is_on = true;
  bool extended = is_extended_;
  bool is_empty = true;
  for (; !at_end() && peek() != ')' && peek() != ':'; ++at_) {
    const char flag = peek();
    is_empty = false;
    if (flag == '-' && is_on)
      is_on = false;
    else if (flag == 'i' || flag == 'm' || flag == 's' || flag == 'U')
      (is_on ? on : off) += flag;
    else if (flag == 'x')
      extended = is_on;
    else if (flag == 'u' && !is_on)
      return unsupported("`(?-u)`, matching of bytes,");
    else if (flag == 'R')
      return unsupported("the flag R (CRLF mode)");
    else if (flag != 'u')
      return error(std::string("an unknown flag `") + flag + "`");
  }
  if (at_end() || is_empty)
    return error("a `(?` that is not understood");
  const std::string change = on + (off.empty() ? "" : "-" + off);
  if (take(":")) {
    const bool was_extended = is_extended_;
    is_extended_ = extended;
    MIRRORD_CHECK_STATUS(group_body("(?" + change + ":", depth));
    is_extended_ = was_extended;
    return {};
  }
  ++at_;
  is_extended_ = extended;
  if (!change.empty())
    emit("(?" + change + ")");
  return {};
}

Status Translator::conditional(int depth) {
  at_ += 2;
  emit("(?");
  if (starts("(?=") || starts("(?!") || starts("(?<=") || starts("(?<!")) {
    MIRRORD_CHECK_STATUS(group(depth));
  } else {
    ++at_;
    std::string_view name;
    if (take("<") || take("'")) {
      MIRRORD_TRY(quoted, until(text_[at_ - 1] == '<' ? '>' : '\'', "the name of a group"));
      name = quoted;
      if (!take(")"))
        return error("a condition without its `)`");
      const auto found = names_.find(name);
      if (found == names_.end())
        return error("no group is named `" + std::string(name) + "`");
      emit("(" + std::to_string(found->second) + ")");
    } else {
      MIRRORD_TRY(number, until(')', "a condition"));
      if (!std::ranges::all_of(number, is_digit) || number.size() > 4)
        return unsupported("a condition other than a group's number or name, or a look-around,");
      emit("(" + std::string(number) + ")");
    }
  }
  // Without branches it asks that the group has matched.
  return group_body(peek() == ')' ? "|(?!)" : "", depth);
}

// ---- escapes

Result<bool> Translator::escape() {
  const char letter = peek(1);
  if (at_ + 1 >= text_.size())
    return error("a backslash at the end");
  if (letter >= '1' && letter <= '9') {
    ++at_;
    std::size_t length = 1;
    while (length < 4 && is_digit(peek(length)))
      ++length;
    emit("\\g{" + std::string(text_.substr(at_, length)) + "}");
    at_ += length;
    return true;
  }
  struct Direct {
    char letter;
    std::string_view pattern;
  };
  // A search begins at the begin of the text: that is where \G is.
  constexpr Direct kDirect[] = {{'A', "\\A"}, {'z', "\\z"},    {'Z', "(?=\\n*\\z)"}, {'G', "\\A"},
                                {'K', "\\K"}, {'O', "(?s:.)"}, {'N', "[^\\n]"},      {'R', "\\R"}};
  for (const auto& [name, pattern] : kDirect) {
    if (letter == name) {
      emit(pattern);
      at_ += 2;
      return true;
    }
  }
  switch (letter) {
    case 'b':
    case 'B':
    case '<':
    case '>':
      MIRRORD_CHECK_STATUS(word_edge(letter));
      return true;
    case 'k':
      MIRRORD_CHECK_STATUS(back_reference());
      return true;
    case 'g':
      return unsupported("a subroutine call `\\g`");
    case 'p':
    case 'P': {
      MIRRORD_TRY(set, property());
      emit("[" + set + "]");
      return true;
    }
    default:
      break;
  }
  if (std::string_view("dDsSwWhH").find(letter) != std::string_view::npos) {
    emit(shorthand(letter).standing_alone());
    at_ += 2;
    return true;
  }
  MIRRORD_TRY(code, escaped_character());
  emit(quoted_character(code));
  return true;
}

Status Translator::word_edge(char letter) {
  const std::string word = shorthand('w').standing_alone();
  const std::string start = "(?<!" + word + ")(?=" + word + ")";
  const std::string end = "(?<=" + word + ")(?!" + word + ")";
  at_ += 2;
  if (letter == 'b' && take("{start}"))
    letter = '<';
  else if (letter == 'b' && take("{end}"))
    letter = '>';
  if (letter == '<') {
    emit("(?:" + start + ")");
  } else if (letter == '>') {
    emit("(?:" + end + ")");
  } else if (letter == 'b' && take("{start-half}")) {
    emit("(?<!" + word + ")");
  } else if (letter == 'b' && take("{end-half}")) {
    emit("(?!" + word + ")");
  } else if (letter == 'b' && starts("{") && is_letter(peek(1))) {
    return error("an unknown kind of `\\b{…}`");
  } else {
    emit((letter == 'b' ? "(?:" : "(?!") + start + "|" + end + ")");
  }
  return {};
}

// \k<name>, \k'name', \k<2>, \k<-1>
Status Translator::back_reference() {
  at_ += 2;
  if (!take("<") && !take("'"))
    return error("`\\k` without a name");
  MIRRORD_TRY(name, until(text_[at_ - 1] == '<' ? '>' : '\'', "a back-reference"));
  return reference_to(name);
}

Status Translator::reference_to(std::string_view name) {
  if (const auto found = names_.find(name); found != names_.end()) {
    emit("\\g{" + std::to_string(found->second) + "}");
    return {};
  }
  const bool is_relative = name.starts_with('-');
  const std::string_view digits = name.substr(is_relative ? 1 : 0);
  unsigned number = 0;
  const auto [end, result] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (result != std::errc() || end != digits.data() + digits.size() || number == 0 ||
      (is_relative && number > groups_))
    return error("no group is named `" + std::string(name) + "`");
  emit("\\g{" + std::to_string(is_relative ? groups_ + 1 - number : number) + "}");
  return {};
}

// ---- characters

// One character of the expression, as it stands there.
Result<char32_t> Translator::character() {
  bool is_valid = true;
  std::size_t next = at_;
  const char32_t code = next_utf8(text_, next, is_valid);
  if (!is_valid)
    return error("not UTF-8");
  at_ = next;
  return code;
}

// A backslash and what stands for one character.
Result<char32_t> Translator::escaped_character() {
  ++at_;
  const char letter = peek();
  constexpr std::pair<char, char> kLetters[] = {{'n', '\n'}, {'t', '\t'}, {'r', '\r'},  {'f', '\f'},
                                                {'v', '\v'}, {'a', '\a'}, {'e', '\x1b'}};
  for (const auto& [name, value] : kLetters) {
    if (letter == name) {
      ++at_;
      return static_cast<char32_t>(value);
    }
  }
  if (letter == 'x' || letter == 'u' || letter == 'U') {
    ++at_;
    return hexadecimal(letter == 'x' ? 2 : letter == 'u' ? 4 : 8);
  }
  const auto byte = static_cast<unsigned char>(letter);
  if (at_end() || is_letter(letter) || is_digit(letter) || byte >= 0x80) {
    return error(at_end() ? "a backslash at the end"
                          : std::string("an unknown escape `\\") + letter + "`");
  }
  ++at_;
  return static_cast<char32_t>(byte);
}

Result<char32_t> Translator::hexadecimal(std::size_t length) {
  std::string_view digits = text_.substr(at_, length);
  if (take("{")) {
    MIRRORD_TRY(inner, until('}', "a hexadecimal number"));
    digits = inner;
  } else {
    at_ += digits.size();
    if (digits.size() < length)
      return error("a hexadecimal number with too few digits");
  }
  std::uint32_t code = 0;
  const auto [end, result] =
      std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
  if (result != std::errc() || end != digits.data() + digits.size() || code > 0x10FFFF ||
      (code >= 0xD800 && code <= 0xDFFF))
    return error("`" + std::string(digits) + "` is no character's number");
  return code;
}

// \pL, \p{…}, \P{…}: an item for brackets.
Result<std::string> Translator::property() {
  const bool is_negated = peek(1) == 'P';
  at_ += 2;
  std::string_view name = text_.substr(at_, 1);
  if (take("{")) {
    MIRRORD_TRY(inner, until('}', "a Unicode property"));
    name = inner;
  } else {
    ++at_;
  }
  std::string known = name.size() > 64 ? "" : unicode_property(name, is_negated);
  if (known.empty())
    return error("an unknown Unicode property `" + std::string(name.substr(0, 64)) + "`");
  return known;
}

// ---- bracketed classes

CharacterSet negation(const CharacterSet& set) {
  if (set.is_flat)
    return {"[^" + set.text + "]", false};
  return {"(?:(?!" + set.text + ")(?s:.))", false};
}

// After "[". Operations have one precedence and associate to the left; juxtaposition binds tighter.
Result<CharacterSet> Translator::bracket(int depth) {
  if (depth > kDeepest)
    return error("nested too deeply");
  const bool is_negated = take("^");
  MIRRORD_TRY(whole, bracket_union(true, depth));
  while (!at_end() && peek() != ']') {
    const char operation = peek();
    at_ += 2;
    MIRRORD_TRY(right, bracket_union(false, depth));
    const std::string one = whole.standing_alone();
    const std::string two = right.standing_alone();
    if (operation == '&')
      whole = {"(?:(?=" + two + ")" + one + ")", false};
    else if (operation == '-')
      whole = {"(?:(?!" + two + ")" + one + ")", false};
    else
      whole = {"(?:(?!" + two + ")" + one + "|(?!" + one + ")" + two + ")", false};
    if (whole.text.size() > kLargestClass)
      return error("a class that is too large");
  }
  if (!take("]"))
    return error("a `[` without its `]`");
  return is_negated ? negation(whole) : whole;
}

Result<CharacterSet> Translator::bracket_union(bool is_first, int depth) {
  std::string flat;
  std::vector<std::string> others;
  if (is_first) {
    while (take("-"))
      flat += "\\x{2d}";
    if (flat.empty() && take("]"))
      flat += "\\x{5d}";
  }
  while (!at_end() && peek() != ']' && !starts("&&") && !starts("--") && !starts("~~"))
    MIRRORD_CHECK_STATUS(bracket_item(flat, others, depth));
  if (others.empty())
    return flat.empty() ? CharacterSet{"(?!)", false} : CharacterSet{flat};
  std::string all;
  if (!flat.empty())
    all = "[" + flat + "]";
  for (const std::string& other : others)
    all += (all.empty() ? "" : "|") + other;
  return CharacterSet{"(?:" + all + ")", false};
}

Status Translator::bracket_item(std::string& flat, std::vector<std::string>& others, int depth) {
  if (starts("[:")) {
    constexpr std::string_view kNames[] = {"alnum", "alpha", "ascii", "blank", "cntrl",
                                           "digit", "graph", "lower", "print", "punct",
                                           "space", "upper", "word",  "xdigit"};
    at_ += 2;
    const std::size_t close = text_.find(":]", at_);
    std::string_view name = text_.substr(at_, close - at_);
    if (name.starts_with('^'))
      name.remove_prefix(1);
    if (close == std::string_view::npos || std::ranges::find(kNames, name) == std::end(kNames))
      return error("an unknown class `[:…:]`");
    flat += "[:" + std::string(text_.substr(at_, close - at_)) + ":]";
    at_ = close + 2;
    return {};
  }
  if (take("[")) {
    MIRRORD_TRY(nested, bracket(depth + 1));
    if (nested.is_flat)
      flat += nested.text;
    else
      others.push_back(std::move(nested.text));
    return {};
  }
  if (peek() == '\\' && (peek(1) == 'p' || peek(1) == 'P')) {
    MIRRORD_TRY(item, property());
    flat += item;
    return {};
  }
  if (peek() == '\\' && at_ + 1 < text_.size() &&
      std::string_view("dDsSwWhH").find(peek(1)) != std::string_view::npos) {
    CharacterSet set = shorthand(peek(1));
    at_ += 2;
    if (set.is_flat)
      flat += set.text;
    else
      others.push_back(std::move(set.text));
    return {};
  }
  MIRRORD_TRY(first, peek() == '\\' ? escaped_character() : character());
  flat += quoted_character(first);
  if (peek() != '-' || peek(1) == ']' || peek(1) == '-' || at_ + 1 >= text_.size())
    return {};
  ++at_;
  if (peek() == '[' ||
      (peek() == '\\' && std::string_view("dDsSwWhHpP").find(peek(1)) != std::string_view::npos))
    return error("a range whose end is no character");
  MIRRORD_TRY(last, peek() == '\\' ? escaped_character() : character());
  if (last < first)
    return error("a range that ends before it begins");
  flat += "-" + quoted_character(last);
  return {};
}

}  // namespace

std::size_t TranslatedRegex::source_of(std::size_t offset) const {
  const auto after =
      std::ranges::upper_bound(places, offset, {}, &std::pair<std::size_t, std::size_t>::first);
  return after == places.begin() ? 0 : std::prev(after)->second;
}

Result<TranslatedRegex> translate_regex(std::string_view expression) {
  return Translator(expression).run();
}

std::unexpected<Error> regex_error(std::string_view expression, std::size_t at,
                                   std::string_view why) {
  constexpr std::size_t kQuoted = 200;
  const std::string quoted =
      std::string(expression.substr(0, kQuoted)) + (expression.size() > kQuoted ? "…" : "");
  return fail(ErrorCode::kConfig,
              "the regular expression `" + quoted + "` is invalid at character " +
                  std::to_string(std::min(at, expression.size()) + 1) + ": " + std::string(why),
              "Expressions are Rust's, with look-around and back-references; in JSON a backslash "
              "is written twice.");
}

}  // namespace mirrord::net
