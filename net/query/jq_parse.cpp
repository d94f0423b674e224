// net/query/jq_parse.cpp — the parser of jq programs.
#include <algorithm>
#include <set>

#include "net/query/jq_tree.h"

namespace mirrord::net::jq {
namespace {

using Kind = Node::Kind;

constexpr int kDeepest = 60;
constexpr std::size_t kMostNodes = 500;

constexpr std::string_view kRefused[] = {
    "def",    "reduce",  "foreach", "label", "import",  "include", "limit", "input",
    "inputs", "env",     "paths",   "path",  "getpath", "setpath", "del",   "sub",
    "gsub",   "capture", "match",   "scan",  "splits",  "debug",   "halt",  "now",
    "while",  "until",   "repeat",  "walk",  "break"};

bool is_name_begin(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

Node make(Kind kind, std::string text = {}) {
  Node node;
  node.kind = kind;
  node.text = std::move(text);
  return node;
}

Node literal(JsonValue value) {
  Node node = make(Kind::kLiteral);
  node.value = std::move(value);
  return node;
}

template <class... Parts>
Node make_of(Kind kind, std::string text, Parts... parts) {
  Node node = make(kind, std::move(text));
  (node.parts.push_back(std::move(parts)), ...);
  return node;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<std::unique_ptr<Node>> run() {
    MIRRORD_TRY(root, pipe(0));
    skip();
    if (at_ < text_.size())
      return error("something that is not understood follows");
    return std::make_unique<Node>(std::move(root));
  }

 private:
  std::unexpected<Error> error(std::string_view why) const {
    return fail(ErrorCode::kConfig,
                "the jq program `" + std::string(text_.substr(0, 200)) +
                    "` is invalid at character " + std::to_string(at_ + 1) + ": " +
                    std::string(why),
                "A program gets each header as a string, such as \"x-user: me\", and says true "
                "or false.");
  }
  std::unexpected<Error> refuse(std::string_view what) const {
    return error("`" + std::string(what) + "` cannot be used here");
  }

  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  void skip() {
    while (at_ < text_.size()) {
      if (std::string_view(" \t\r\n").find(peek()) != std::string_view::npos)
        ++at_;
      else if (peek() == '#')
        at_ = std::min(text_.find('\n', at_), text_.size());
      else
        return;
    }
  }
  bool take(std::string_view sign) {
    skip();
    if (!text_.substr(at_).starts_with(sign))
      return false;
    at_ += sign.size();
    return true;
  }
  std::string_view word() const {
    std::size_t end = at_;
    while (end < text_.size() && (is_name_begin(text_[end]) || is_digit(text_[end])))
      ++end;
    return text_.substr(at_, end - at_);
  }
  bool take_word(std::string_view wanted) {
    skip();
    if (word() != wanted)
      return false;
    at_ += wanted.size();
    return true;
  }
  Status count(int depth) {
    if (depth > kDeepest || ++nodes_ > kMostNodes)
      return error("the program is too large");
    return {};
  }

  Result<Node> pipe(int depth);
  Result<Node> comma(int depth);
  Result<Node> alternative(int depth);
  Result<Node> disjunction(int depth);
  Result<Node> conjunction(int depth);
  Result<Node> comparison(int depth);
  Result<Node> sum(int depth);
  Result<Node> product(int depth);
  Result<Node> postfix(int depth);
  Result<Node> suffix(Node term, int depth);
  Result<Node> bracket(Node term, int depth);
  Result<Node> term(int depth);
  Result<Node> dot(int depth);
  Result<Node> named(int depth);
  Result<Node> conditional(int depth);
  Result<Node> number();
  Result<Node> string(int depth);
  Status string_escape(std::string& piece);
  Result<Node> object(int depth);
  Result<Node> object_key(int depth);

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t nodes_ = 0;
  std::multiset<std::string, std::less<>> variables_;
};

// ---- operators, from the loosest to the tightest

Result<Node> Parser::pipe(int depth) {
  MIRRORD_CHECK_STATUS(count(depth));
  MIRRORD_TRY(left, comma(depth));
  if (take_word("as")) {
    if (!take("$") || !is_name_begin(peek()))
      return error("`as` takes a variable");
    const std::string name(word());
    at_ += name.size();
    if (!take("|"))
      return error("expected `|` after `as $" + name + "`");
    const auto variable = variables_.insert(name);
    MIRRORD_TRY(body, pipe(depth + 1));
    variables_.erase(variable);
    return make_of(Kind::kBind, name, std::move(left), std::move(body));
  }
  skip();
  if (text_.substr(at_).starts_with("|=") || text_.substr(at_).starts_with("?//"))
    return refuse(text_.substr(at_, 2));
  if (!take("|"))
    return left;
  MIRRORD_TRY(right, pipe(depth + 1));
  return make_of(Kind::kPipe, "", std::move(left), std::move(right));
}

Result<Node> Parser::comma(int depth) {
  MIRRORD_TRY(left, alternative(depth));
  while (take(",")) {
    MIRRORD_CHECK_STATUS(count(depth));
    MIRRORD_TRY(right, alternative(depth));
    left = make_of(Kind::kComma, "", std::move(left), std::move(right));
  }
  return left;
}

Result<Node> Parser::alternative(int depth) {
  MIRRORD_CHECK_STATUS(count(depth));
  MIRRORD_TRY(left, disjunction(depth));
  skip();
  if (text_.substr(at_).starts_with("//="))
    return refuse("//=");
  if (!take("//"))
    return left;
  MIRRORD_TRY(right, alternative(depth + 1));
  return make_of(Kind::kAlternative, "", std::move(left), std::move(right));
}

Result<Node> Parser::disjunction(int depth) {
  MIRRORD_TRY(left, conjunction(depth));
  while (take_word("or")) {
    MIRRORD_CHECK_STATUS(count(depth));
    MIRRORD_TRY(right, conjunction(depth));
    left = make_of(Kind::kOr, "", std::move(left), std::move(right));
  }
  return left;
}

Result<Node> Parser::conjunction(int depth) {
  MIRRORD_TRY(left, comparison(depth));
  while (take_word("and")) {
    MIRRORD_CHECK_STATUS(count(depth));
    MIRRORD_TRY(right, comparison(depth));
    left = make_of(Kind::kAnd, "", std::move(left), std::move(right));
  }
  return left;
}

Result<Node> Parser::comparison(int depth) {
  MIRRORD_TRY(left, sum(depth));
  for (const std::string_view sign : {"==", "!=", "<=", ">=", "<", ">"}) {
    if (!take(sign))
      continue;
    MIRRORD_TRY(right, sum(depth));
    return make_of(Kind::kBinary, std::string(sign), std::move(left), std::move(right));
  }
  skip();
  if (peek() == '=')
    return refuse("=");
  return left;
}

Result<Node> Parser::sum(int depth) {
  MIRRORD_TRY(left, product(depth));
  while (true) {
    skip();
    const char sign = peek();
    if (sign != '+' && sign != '-')
      return left;
    if (peek(1) == '=')
      return refuse(text_.substr(at_, 2));
    ++at_;
    MIRRORD_CHECK_STATUS(count(depth));
    MIRRORD_TRY(right, product(depth));
    left = make_of(Kind::kBinary, std::string(1, sign), std::move(left), std::move(right));
  }
}

Result<Node> Parser::product(int depth) {
  MIRRORD_TRY(left, postfix(depth));
  while (true) {
    skip();
    const char sign = peek();
    if ((sign != '*' && sign != '/' && sign != '%') || (sign == '/' && peek(1) == '/'))
      return left;
    if (peek(1) == '=')
      return refuse(text_.substr(at_, 2));
    ++at_;
    MIRRORD_CHECK_STATUS(count(depth));
    MIRRORD_TRY(right, postfix(depth));
    left = make_of(Kind::kBinary, std::string(1, sign), std::move(left), std::move(right));
  }
}

Result<Node> Parser::postfix(int depth) {
  MIRRORD_CHECK_STATUS(count(depth));
  if (take_word("try")) {
    MIRRORD_TRY(body, postfix(depth + 1));
    Node node = make_of(Kind::kTry, "", std::move(body));
    if (take_word("catch")) {
      MIRRORD_TRY(handler, postfix(depth + 1));
      node.parts.push_back(std::move(handler));
    }
    return node;
  }
  if (take("-")) {
    MIRRORD_TRY(inner, postfix(depth + 1));
    return make_of(Kind::kNegate, "", std::move(inner));
  }
  MIRRORD_TRY(first, term(depth));
  return suffix(std::move(first), depth);
}

Result<Node> Parser::suffix(Node term, int depth) {
  while (true) {
    MIRRORD_CHECK_STATUS(count(depth));
    skip();
    if (text_.substr(at_).starts_with("?//"))
      return refuse("?//");
    if (take("?")) {
      term = make_of(Kind::kTry, "", std::move(term));
    } else if (take("[")) {
      MIRRORD_TRY(indexed, bracket(std::move(term), depth));
      term = std::move(indexed);
    } else if (peek() == '.' && is_name_begin(peek(1))) {
      ++at_;
      std::string name(word());
      at_ += name.size();
      term = make_of(Kind::kIndex, "", std::move(term), literal({std::move(name)}));
    } else if (peek() == '.' && peek(1) == '"') {
      ++at_;
      MIRRORD_TRY(key, string(depth + 1));
      term = make_of(Kind::kIndex, "", std::move(term), std::move(key));
    } else if (peek() == '.' && peek(1) == '[') {
      ++at_;
    } else {
      return term;
    }
  }
}

// After "[" behind a term.
Result<Node> Parser::bracket(Node term, int depth) {
  if (take("]"))
    return make_of(Kind::kIterate, "", std::move(term));
  if (take(":")) {
    MIRRORD_TRY(to, pipe(depth + 1));
    if (!take("]"))
      return error("expected `]`");
    return make_of(Kind::kSlice, "", std::move(term), literal({}), std::move(to));
  }
  MIRRORD_TRY(key, pipe(depth + 1));
  if (take("]"))
    return make_of(Kind::kIndex, "", std::move(term), std::move(key));
  if (!take(":"))
    return error("expected `]`");
  if (take("]"))
    return make_of(Kind::kSlice, "", std::move(term), std::move(key), literal({}));
  MIRRORD_TRY(to, pipe(depth + 1));
  if (!take("]"))
    return error("expected `]`");
  return make_of(Kind::kSlice, "", std::move(term), std::move(key), std::move(to));
}

// ---- terms

Result<Node> Parser::term(int depth) {
  skip();
  const char c = peek();
  if (c == '.')
    return dot(depth);
  if (c == '"')
    return string(depth);
  if (is_digit(c))
    return number();
  if (c == '{')
    return object(depth);
  if (c == '@') {
    ++at_;
    const std::string name(word());
    at_ += name.size();
    if (!has_format(name))
      return refuse("@" + name);
    skip();
    if (peek() == '"')
      return error("a format before a string cannot be used here: write \"…\\(x | @" + name +
                   ")…\"");
    return make(Kind::kFormat, name);
  }
  if (c == '$') {
    ++at_;
    const std::string name(word());
    if (!variables_.contains(name))
      return error("no variable is called `$" + name + "`");
    at_ += name.size();
    return make(Kind::kVariable, name);
  }
  if (take("(")) {
    MIRRORD_TRY(inner, pipe(depth + 1));
    if (!take(")"))
      return error("expected `)`");
    return inner;
  }
  if (take("[")) {
    if (take("]"))
      return make(Kind::kArray);
    MIRRORD_TRY(inner, pipe(depth + 1));
    if (!take("]"))
      return error("expected `]`");
    return make_of(Kind::kArray, "", std::move(inner));
  }
  if (is_name_begin(c))
    return named(depth);
  return error(at_ < text_.size() ? "expected an expression"
                                  : "it ends where an expression should be");
}

Result<Node> Parser::dot(int depth) {
  ++at_;
  if (peek() == '.') {
    ++at_;
    return make(Kind::kEverything);
  }
  if (is_name_begin(peek())) {
    std::string name(word());
    at_ += name.size();
    return make_of(Kind::kIndex, "", make(Kind::kIdentity), literal({std::move(name)}));
  }
  if (peek() == '"') {
    MIRRORD_TRY(key, string(depth + 1));
    return make_of(Kind::kIndex, "", make(Kind::kIdentity), std::move(key));
  }
  return make(Kind::kIdentity);
}

Result<Node> Parser::number() {
  const std::size_t begin = at_;
  while (is_digit(peek()) || peek() == '.' || peek() == 'e' || peek() == 'E' ||
         ((peek() == '-' || peek() == '+') && (text_[at_ - 1] == 'e' || text_[at_ - 1] == 'E')))
    ++at_;
  auto value = JsonValue::parse(text_.substr(begin, at_ - begin));
  if (!value) {
    at_ = begin;
    return error("an invalid number");
  }
  return literal(std::move(*value));
}

Result<Node> Parser::named(int depth) {
  const std::string name(word());
  if (std::ranges::find(kRefused, name) != std::end(kRefused))
    return refuse(name);
  for (const std::string_view reserved :
       {"then", "elif", "else", "end", "and", "or", "as", "catch"}) {
    if (name == reserved)
      return error("expected an expression before `" + name + "`");
  }
  const std::size_t begin = at_;
  at_ += name.size();
  if (name == "if")
    return conditional(depth);
  if (name == "null")
    return literal({});
  if (name == "true" || name == "false")
    return literal({name == "true"});
  Node call = make(Kind::kCall, name);
  if (take("(")) {
    do {
      MIRRORD_TRY(argument, pipe(depth + 1));
      call.parts.push_back(std::move(argument));
    } while (take(";"));
    if (!take(")"))
      return error("expected `)` or `;`");
  }
  if (!has_function(name, call.parts.size())) {
    at_ = begin;
    return refuse(name + "/" + std::to_string(call.parts.size()));
  }
  return call;
}

// After "if" or "elif".
Result<Node> Parser::conditional(int depth) {
  MIRRORD_TRY(condition, pipe(depth + 1));
  if (!take_word("then"))
    return error("expected `then`");
  MIRRORD_TRY(then, pipe(depth + 1));
  Node otherwise = make(Kind::kIdentity);
  if (take_word("elif")) {
    MIRRORD_TRY(next, conditional(depth + 1));
    return make_of(Kind::kIf, "", std::move(condition), std::move(then), std::move(next));
  }
  if (take_word("else")) {
    MIRRORD_TRY(branch, pipe(depth + 1));
    otherwise = std::move(branch);
  }
  if (!take_word("end"))
    return error("expected `end`");
  return make_of(Kind::kIf, "", std::move(condition), std::move(then), std::move(otherwise));
}

Status Parser::string_escape(std::string& piece) {
  // JSON's escapes; a pair of surrogates together.
  std::size_t length = 2;
  if (peek(1) == 'u')
    length = peek(6) == '\\' && peek(7) == 'u' ? 12 : 6;
  auto value = JsonValue::parse("\"" + std::string(text_.substr(at_, length)) + "\"");
  if (!value && length == 12) {
    length = 6;
    value = JsonValue::parse("\"" + std::string(text_.substr(at_, length)) + "\"");
  }
  if (!value || value->as<std::string>() == nullptr)
    return error("an unknown escape");
  piece += *value->as<std::string>();
  at_ += length;
  return {};
}

Result<Node> Parser::string(int depth) {
  MIRRORD_CHECK_STATUS(count(depth));
  ++at_;
  Node whole = make(Kind::kTemplate);
  std::string piece;
  while (at_ < text_.size() && peek() != '"') {
    if (peek() != '\\') {
      piece += text_[at_++];
    } else if (peek(1) != '(') {
      MIRRORD_CHECK_STATUS(string_escape(piece));
    } else {
      at_ += 2;
      MIRRORD_TRY(inner, pipe(depth + 1));
      if (!take(")"))
        return error("expected `)`");
      whole.parts.push_back(literal({std::move(piece)}));
      whole.parts.push_back(std::move(inner));
      piece.clear();
    }
  }
  if (at_ >= text_.size())
    return error("a string without its end");
  ++at_;
  if (whole.parts.empty())
    return literal({std::move(piece)});
  whole.parts.push_back(literal({std::move(piece)}));
  return whole;
}

Result<Node> Parser::object_key(int depth) {
  skip();
  if (peek() == '"')
    return string(depth);
  if (take("(")) {
    MIRRORD_TRY(key, pipe(depth + 1));
    if (!take(")"))
      return error("expected `)`");
    return key;
  }
  const std::string name(word());
  if (name.empty() || is_digit(name[0]))
    return error("expected a key");
  at_ += name.size();
  return literal({name});
}

Result<Node> Parser::object(int depth) {
  ++at_;
  Node node = make(Kind::kObject);
  if (take("}"))
    return node;
  do {
    MIRRORD_CHECK_STATUS(count(depth));
    skip();
    const bool is_variable = peek() == '$';
    if (is_variable)
      ++at_;
    MIRRORD_TRY(key, object_key(depth + 1));
    if (is_variable) {
      const auto* name = key.value.as<std::string>();
      if (name == nullptr || !variables_.contains(*name))
        return error("no variable is called so");
      node.parts.push_back(literal({*name}));
      node.parts.push_back(make(Kind::kVariable, *name));
    } else if (take(":")) {
      MIRRORD_TRY(value, alternative(depth + 1));
      node.parts.push_back(std::move(key));
      node.parts.push_back(std::move(value));
    } else if (key.kind == Kind::kLiteral) {
      node.parts.push_back(literal(key.value));
      node.parts.push_back(
          make_of(Kind::kIndex, "", make(Kind::kIdentity), literal(std::move(key.value))));
    } else {
      return error("expected `:`");
    }
  } while (take(","));
  if (!take("}"))
    return error("expected `,` or `}`");
  return node;
}

}  // namespace

Result<std::unique_ptr<Node>> parse(std::string_view text) {
  if (text.size() > JqProgram::kLongest)
    return fail(ErrorCode::kConfig,
                "the jq program is longer than " + std::to_string(JqProgram::kLongest) + " bytes");
  return Parser(text).run();
}

}  // namespace mirrord::net::jq
