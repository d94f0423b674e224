// net/query/json_path_parse.cpp — the grammar of RFC 9535 and its rules of types.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "net/query/json_path_tree.h"

namespace mirrord::net {

bool JsonPath::Query::is_singular() const {
  return std::ranges::all_of(segments, [](const json_path::Segment& segment) {
    return !segment.is_descendant && segment.selectors.size() == 1 &&
           (std::holds_alternative<json_path::Name>(segment.selectors[0]) ||
            std::holds_alternative<json_path::Index>(segment.selectors[0]));
  });
}

namespace json_path {
namespace {

using Kind = Expression::Kind;

constexpr int kDeepest = 64;
constexpr std::int64_t kLargest = (std::int64_t{1} << 53) - 1;  // RFC 9535 §2.1

struct FunctionRow {
  std::string_view name;
  Function function;
  std::size_t arguments;
  bool takes_nodes;  // else values
  bool is_logical;   // gives true or false; else a value
};
constexpr FunctionRow kFunctions[] = {
    {"length", Function::kLength, 1, false, false}, {"count", Function::kCount, 1, true, false},
    {"match", Function::kMatch, 2, false, true},    {"search", Function::kSearch, 2, false, true},
    {"value", Function::kValue, 1, true, false},    {"typeof", Function::kTypeof, 1, true, false},
};

const FunctionRow& row_of(Function function) {
  return *std::ranges::find(kFunctions, function, &FunctionRow::function);
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_begin(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<std::unique_ptr<JsonPath::Query>> run() {
    bool is_valid = true;
    for (std::size_t at = 0; at < text_.size();)
      next_utf8(text_, at, is_valid);
    if (!is_valid)
      return error("it is not UTF-8");
    if (!take("$"))
      return error("it does not begin with `$`");
    auto query = std::make_unique<JsonPath::Query>();
    MIRRORD_CHECK_STATUS(segments(*query, 0));
    if (at_ != text_.size())
      return error("something that is no segment follows");
    return query;
  }

 private:
  std::unexpected<Error> error(std::string_view why) const {
    return fail(ErrorCode::kConfig,
                "the JSONPath query `" + std::string(text_.substr(0, 200)) +
                    "` is invalid at character " + std::to_string(at_ + 1) + ": " +
                    std::string(why),
                "Queries are JSONPath as RFC 9535 has it, such as $.user.id or $.items[?@.n > 1].");
  }
  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word))
      return false;
    at_ += word.size();
    return true;
  }
  void skip_blanks() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }

  Status segments(JsonPath::Query& query, int depth);
  Status bracketed(Segment& segment, int depth);
  Result<Selector> selector(int depth);
  Result<Selector> index_or_slice();
  Result<std::int64_t> integer();
  Result<std::string> member_name();
  Result<std::string> quoted();
  Status escape(std::string& out, char quote);
  Result<char32_t> four_digits();

  Result<Expression> disjunction(int depth);
  Result<Expression> conjunction(int depth);
  Result<Expression> basic(int depth);
  Result<Expression> operand(int depth);
  Result<Expression> function_call(int depth);
  Result<Expression> literal();
  std::optional<Kind> comparison();
  Status check_comparable(const Expression& side);

  std::string_view text_;
  std::size_t at_ = 0;
};

// ---- segments and selectors

Status Parser::segments(JsonPath::Query& query, int depth) {
  if (depth > kDeepest)
    return error("nested too deeply");
  while (true) {
    const std::size_t before = at_;
    skip_blanks();
    Segment segment;
    segment.is_descendant = take("..");
    if (take("[")) {
      MIRRORD_CHECK_STATUS(bracketed(segment, depth));
    } else if (segment.is_descendant || take(".")) {
      if (take("*")) {
        segment.selectors.emplace_back(Wildcard{});
      } else {
        MIRRORD_TRY(name, member_name());
        segment.selectors.emplace_back(Name{std::move(name)});
      }
    } else {
      at_ = before;
      return {};
    }
    query.segments.push_back(std::move(segment));
  }
}

Status Parser::bracketed(Segment& segment, int depth) {
  while (true) {
    skip_blanks();
    MIRRORD_TRY(one, selector(depth));
    segment.selectors.push_back(std::move(one));
    skip_blanks();
    if (take("]"))
      return {};
    if (!take(","))
      return error("expected `,` or `]`");
  }
}

Result<Selector> Parser::selector(int depth) {
  if (take("*"))
    return Wildcard{};
  if (peek() == '\'' || peek() == '"') {
    MIRRORD_TRY(name, quoted());
    return Name{std::move(name)};
  }
  if (take("?")) {
    skip_blanks();
    MIRRORD_TRY(condition, disjunction(depth + 1));
    return Filter{std::make_unique<Expression>(std::move(condition))};
  }
  return index_or_slice();
}

Result<Selector> Parser::index_or_slice() {
  std::optional<std::int64_t> parts[3];
  int colons = 0;
  while (true) {
    if (peek() == '-' || is_digit(peek())) {
      MIRRORD_TRY(number, integer());
      parts[colons] = number;
    }
    const std::size_t before = at_;
    skip_blanks();
    if (colons == 2 || !take(":")) {
      at_ = before;
      break;
    }
    ++colons;
    skip_blanks();
  }
  if (colons == 0 && !parts[0])
    return error("expected a selector: a name in quotes, a number, a slice, `*` or `?`");
  if (colons == 0)
    return Index{*parts[0]};
  return Slice{parts[0], parts[1], parts[2].value_or(1)};
}

Result<std::int64_t> Parser::integer() {
  const std::size_t begin = at_;
  take("-");
  const std::size_t first = at_;
  while (is_digit(peek()))
    ++at_;
  const std::string_view digits = text_.substr(begin, at_ - begin);
  std::int64_t value = 0;
  const auto [end, result] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool is_padded = text_[first] == '0' && digits != "0";  // 01, -0
  if (at_ == first || is_padded || result != std::errc() || std::abs(value) > kLargest)
    return error("`" + std::string(digits) + "` is no index");
  return value;
}

Result<std::string> Parser::member_name() {
  const std::size_t begin = at_;
  if (!is_name_begin(peek()))
    return error("expected a name or `*`");
  while (is_name_begin(peek()) || is_digit(peek()))
    ++at_;
  return std::string(text_.substr(begin, at_ - begin));
}

Result<std::string> Parser::quoted() {
  const char quote = peek();
  ++at_;
  std::string out;
  while (at_ < text_.size() && peek() != quote) {
    if (static_cast<unsigned char>(peek()) < 0x20)
      return error("a control character");
    if (take("\\"))
      MIRRORD_CHECK_STATUS(escape(out, quote));
    else
      out += text_[at_++];
  }
  if (at_ >= text_.size())
    return error("a string without its end");
  ++at_;
  return out;
}

Result<char32_t> Parser::four_digits() {
  const std::string_view digits = text_.substr(at_, 4);
  std::uint32_t code = 0;
  const auto [end, result] =
      std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
  if (digits.size() != 4 || result != std::errc() || end != digits.data() + 4)
    return error("expected four hexadecimal digits");
  at_ += 4;
  return code;
}

Status Parser::escape(std::string& out, char quote) {
  constexpr std::pair<char, char> kLetters[] = {{'b', '\b'}, {'f', '\f'}, {'n', '\n'}, {'r', '\r'},
                                                {'t', '\t'}, {'/', '/'},  {'\\', '\\'}};
  const char letter = peek();
  if (letter == quote) {
    out += quote;
    ++at_;
    return {};
  }
  for (const auto& [name, value] : kLetters) {
    if (letter == name) {
      out += value;
      ++at_;
      return {};
    }
  }
  if (!take("u"))
    return error("an unknown escape");
  MIRRORD_TRY(code, four_digits());
  if (code >= 0xD800 && code < 0xDC00) {
    if (!take("\\u"))
      return error("half of a surrogate pair");
    MIRRORD_TRY(low, four_digits());
    if (low < 0xDC00 || low > 0xDFFF)
      return error("half of a surrogate pair");
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  } else if (code >= 0xDC00 && code < 0xE000) {
    return error("half of a surrogate pair");
  }
  append_utf8(out, code);
  return {};
}

// ---- filters

Result<Expression> Parser::disjunction(int depth) {
  if (depth > kDeepest)
    return error("nested too deeply");
  MIRRORD_TRY(first, conjunction(depth));
  Expression all{.kind = Kind::kOr};
  all.operands.push_back(std::move(first));
  for (skip_blanks(); take("||"); skip_blanks()) {
    skip_blanks();
    MIRRORD_TRY(next, conjunction(depth));
    all.operands.push_back(std::move(next));
  }
  return all;
}

Result<Expression> Parser::conjunction(int depth) {
  MIRRORD_TRY(first, basic(depth));
  Expression all{.kind = Kind::kAnd};
  all.operands.push_back(std::move(first));
  for (skip_blanks(); take("&&"); skip_blanks()) {
    skip_blanks();
    MIRRORD_TRY(next, basic(depth));
    all.operands.push_back(std::move(next));
  }
  return all;
}

std::optional<Kind> Parser::comparison() {
  constexpr std::pair<std::string_view, Kind> kSigns[] = {
      {"==", Kind::kEqual},          {"!=", Kind::kUnequal}, {"<=", Kind::kLessOrEqual},
      {">=", Kind::kGreaterOrEqual}, {"<", Kind::kLess},     {">", Kind::kGreater}};
  for (const auto& [sign, kind] : kSigns) {
    if (take(sign))
      return kind;
  }
  return std::nullopt;
}

Status Parser::check_comparable(const Expression& side) {
  if (side.kind == Kind::kQuery && !side.query->is_singular())
    return error("a query that may find several nodes cannot be compared");
  if (side.kind == Kind::kFunction && row_of(side.function).is_logical)
    return error("what " + std::string(row_of(side.function).name) +
                 "() gives is true or false and cannot be compared");
  return {};
}

Result<Expression> Parser::basic(int depth) {
  if (take("!")) {
    skip_blanks();
    const bool is_group = peek() == '(';
    MIRRORD_TRY(inner, basic(depth + 1));
    const bool is_test = inner.kind == Kind::kQuery || inner.kind == Kind::kFunction;
    if (!is_group && !is_test)
      return error("`!` stands before a comparison: put that in parentheses");
    Expression negation{.kind = Kind::kNot};
    negation.operands.push_back(std::move(inner));
    return negation;
  }
  if (take("(")) {
    skip_blanks();
    MIRRORD_TRY(inner, disjunction(depth + 1));
    skip_blanks();
    if (!take(")"))
      return error("expected `)`");
    return inner;
  }
  MIRRORD_TRY(left, operand(depth));
  const std::size_t before = at_;
  skip_blanks();
  const auto kind = comparison();
  if (!kind) {
    at_ = before;
    if (left.kind == Kind::kLiteral)
      return error("a literal alone is no condition: compare it");
    if (left.kind == Kind::kFunction && !row_of(left.function).is_logical)
      return error("what " + std::string(row_of(left.function).name) +
                   "() gives is a value and no condition: compare it");
    return left;
  }
  MIRRORD_CHECK_STATUS(check_comparable(left));
  skip_blanks();
  MIRRORD_TRY(right, operand(depth));
  MIRRORD_CHECK_STATUS(check_comparable(right));
  Expression compared{.kind = *kind};
  compared.operands.push_back(std::move(left));
  compared.operands.push_back(std::move(right));
  return compared;
}

// A query, a function call or a literal.
Result<Expression> Parser::operand(int depth) {
  if (depth > kDeepest)
    return error("nested too deeply");
  if (peek() == '@' || peek() == '$') {
    Expression test{.kind = Kind::kQuery};
    test.query = std::make_shared<JsonPath::Query>();
    test.query->is_relative = peek() == '@';
    ++at_;
    MIRRORD_CHECK_STATUS(segments(*test.query, depth + 1));
    return test;
  }
  std::size_t end = at_;
  while (end < text_.size() &&
         ((text_[end] >= 'a' && text_[end] <= 'z') || is_digit(text_[end]) || text_[end] == '_'))
    ++end;
  if (end > at_ && end < text_.size() && text_[end] == '(')
    return function_call(depth);
  return literal();
}

Result<Expression> Parser::function_call(int depth) {
  const std::string_view name = text_.substr(at_, text_.find('(', at_) - at_);
  const auto row = std::ranges::find(kFunctions, name, &FunctionRow::name);
  if (row == std::end(kFunctions))
    return error("no function is called `" + std::string(name) + "`");
  at_ += name.size() + 1;
  Expression call{.kind = Kind::kFunction};
  call.function = row->function;
  for (std::size_t i = 0; i < row->arguments; ++i) {
    skip_blanks();
    if (i > 0 && !take(","))
      return error(std::string(name) + "() takes " + std::to_string(row->arguments) + " arguments");
    skip_blanks();
    MIRRORD_TRY(argument, operand(depth + 1));
    if (row->takes_nodes && argument.kind != Kind::kQuery)
      return error(std::string(name) + "() takes a query");
    if (!row->takes_nodes)
      MIRRORD_CHECK_STATUS(check_comparable(argument));
    call.operands.push_back(std::move(argument));
  }
  skip_blanks();
  if (!take(")"))
    return error(std::string(name) + "() takes " + std::to_string(row->arguments) +
                 (row->arguments == 1 ? " argument" : " arguments"));
  return call;
}

Result<Expression> Parser::literal() {
  Expression out{.kind = Kind::kLiteral};
  if (peek() == '\'' || peek() == '"') {
    MIRRORD_TRY(text, quoted());
    out.literal.data = std::move(text);
    return out;
  }
  const std::size_t begin = at_;
  while (is_name_begin(peek()) || is_digit(peek()) || peek() == '-' || peek() == '+' ||
         peek() == '.')
    ++at_;
  const std::string_view word = text_.substr(begin, at_ - begin);
  auto value = JsonValue::parse(word);
  if (!value) {
    at_ = begin;
    return error("expected a query, a function or a literal");
  }
  out.literal = std::move(*value);
  return out;
}

}  // namespace

Result<std::unique_ptr<JsonPath::Query>> parse(std::string_view text) {
  if (text.size() > JsonPath::kLongest)
    return fail(ErrorCode::kConfig, "the JSONPath query is longer than " +
                                        std::to_string(JsonPath::kLongest) + " bytes");
  return Parser(text).run();
}

}  // namespace json_path
}  // namespace mirrord::net
