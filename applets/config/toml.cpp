// applets/config/toml.cpp — a reader of TOML that keeps the place of every key and value.
#include "applets/config/toml.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <set>
#include <utility>

#include "applets/config/message.h"

namespace mirrord::config {
namespace {

using Type = Node::Type;

constexpr int kDeepest = 64;

struct KeyPart {
  std::string name;
  std::size_t offset;
};
using KeyPath = std::vector<KeyPart>;

bool is_bare(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
    return;
  }
  const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  constexpr unsigned char kLead[] = {0, 0xC0, 0xE0, 0xF0};
  out += static_cast<char>(kLead[more] | (code >> (6 * more)));
  for (int i = more - 1; i >= 0; --i)
    out += static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3F));
}

class Parser {
 public:
  Parser(std::string_view text, std::string_view name) : text_(text), name_(name) {
    root_.type = Type::kObject;
  }

  Result<Node> run() {
    for (skip_blank(); at_ < text_.size(); skip_blank()) {
      MIRRORD_CHECK_STATUS(peek() == '[' ? header() : assignment(*open_table()));
      MIRRORD_CHECK_STATUS(end_of_line());
    }
    return std::move(root_);
  }

 private:
  std::unexpected<Error> error(const std::string& why, std::string hint = {}) const {
    return error_at(at_, why, std::move(hint));
  }
  std::unexpected<Error> error_at(std::size_t offset, const std::string& why,
                                  std::string hint = {}) const {
    return fail(
        ErrorCode::kConfig,
        std::string(name_) + ":" + position_text(text_, offset) + ": not valid TOML: " + why,
        std::move(hint));
  }
  // The same, with what stands there.
  std::unexpected<Error> unexpected(const std::string& expected, std::string hint = {}) const {
    std::string found = "the end of the file";
    if (at_ < text_.size()) {
      const std::size_t length = text_.find_first_of(" \t\r\n,=[]{}\"", at_) - at_;
      found = peek() == '\n' || peek() == '\r'
                  ? "the end of the line"
                  : "`" + quotable(text_.substr(at_, length == 0 ? 1 : length)) + "`";
    }
    return error("expected " + expected + ", found " + found, std::move(hint));
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
  void skip_space() {
    while (peek() == ' ' || peek() == '\t')
      ++at_;
  }
  void skip_comment() {
    if (peek() == '#')
      at_ = std::min(text_.find('\n', at_), text_.size());
  }
  void skip_blank() {
    while (at_ < text_.size()) {
      skip_space();
      skip_comment();
      if (peek() != '\n' && peek() != '\r')
        return;
      ++at_;
    }
  }
  Status end_of_line() {
    skip_space();
    skip_comment();
    take("\r");
    if (at_ < text_.size() && !take("\n"))
      return unexpected("the end of the line", "Each key stands on a line of its own.");
    return {};
  }

  Status header();
  Status assignment(Node& table, int depth = 0);
  Result<KeyPath> key_path();
  Result<Node*> descend(Node& from, const KeyPath& path, std::size_t count);
  // The table that the last header opened: found again each time, as vectors move.
  Node* open_table();
  Result<Node> value(int depth);
  Result<Node> array(int depth);
  Result<Node> inline_table(int depth);
  Result<Node> plain();
  Result<std::string> string();
  Result<std::string> basic_string(bool is_long);
  Result<std::string> literal_string(bool is_long);
  Status escape(std::string& out);
  std::unexpected<Error> unclosed(std::size_t begin) const;
  std::unexpected<Error> control_character(std::size_t at) const;

  std::string_view text_;
  std::string_view name_;
  std::size_t at_ = 0;
  Node root_;
  KeyPath open_;                   // of the last header
  std::set<std::size_t> closed_;   // inline tables, by their places
  std::set<std::string> headers_;  // that have stood: each may only once
};

// The member of an object; a list of tables stands for its last one.
Node* find(Node& table, const std::string& name) {
  for (Node::Member& member : table.members) {
    if (member.key == name) {
      Node& node = member.value;
      return node.type == Type::kArray && !node.items.empty() ? &node.items.back() : &node;
    }
  }
  return nullptr;
}

Node& add(Node& table, const KeyPart& key, Node node) {
  table.members.push_back({key.name, key.offset, std::move(node)});
  return table.members.back().value;
}

Node empty_table(std::size_t offset) {
  Node node;
  node.type = Type::kObject;
  node.offset = offset;
  return node;
}

// Walks the first `count` parts, making tables that are missing.
Result<Node*> Parser::descend(Node& from, const KeyPath& path, std::size_t count) {
  Node* table = &from;
  for (std::size_t i = 0; i < count; ++i) {
    Node* next = find(*table, path[i].name);
    if (next == nullptr)
      next = &add(*table, path[i], empty_table(path[i].offset));
    if (next->type != Type::kObject)
      return error_at(path[i].offset, "`" + path[i].name + "` is not a table");
    if (closed_.contains(next->offset))
      return error_at(path[i].offset, "`" + path[i].name + "` is an inline table that has ended",
                      "Put the key between its braces, or write it as a [table].");
    table = next;
  }
  return table;
}

Node* Parser::open_table() {
  auto table = descend(root_, open_, open_.size());
  return table ? *table : &root_;
}

Status Parser::header() {
  const std::size_t begin = at_;
  const bool is_list = take("[[");
  if (!is_list)
    take("[");
  MIRRORD_TRY(path, key_path());
  if (!take(is_list ? "]]" : "]"))
    return unexpected(is_list ? "`]]`" : "`]`");
  MIRRORD_TRY(parent, descend(root_, path, path.size() - 1));
  if (is_list) {
    auto list = std::ranges::find(parent->members, path.back().name, &Node::Member::key);
    if (list == parent->members.end()) {
      Node items;
      items.type = Type::kArray;
      items.offset = path.back().offset;
      add(*parent, path.back(), std::move(items)).items.push_back(empty_table(begin));
    } else if (list->value.type != Type::kArray) {
      return error_at(path.back().offset, "`" + path.back().name + "` is not a list of tables");
    } else {
      list->value.items.push_back(empty_table(begin));
    }
    headers_.clear();  // tables below the new element may stand again
  } else {
    std::string whole;
    for (const KeyPart& part : path)
      whole += part.name + '\n';
    if (!headers_.insert(whole).second)
      return error_at(begin, "this table stands here a second time");
    MIRRORD_CHECK_STATUS([&]() -> Status {
      MIRRORD_TRY(table, descend(*parent, {path.back()}, 1));
      (void)table;
      return {};
    }());
  }
  open_ = std::move(path);
  return {};
}

Status Parser::assignment(Node& table, int depth) {
  MIRRORD_TRY(path, key_path());
  if (!take("="))
    return unexpected("`=` after the key", peek() == ':' ? "Write KEY = VALUE." : "");
  MIRRORD_TRY(node, value(depth));
  MIRRORD_TRY(parent, descend(table, path, path.size() - 1));
  if (parent->member(path.back().name) != nullptr)
    return error_at(path.back().offset,
                    "the key `" + path.back().name + "` stands here a second time");
  add(*parent, path.back(), std::move(node));
  return {};
}

Result<KeyPath> Parser::key_path() {
  KeyPath path;
  do {
    skip_space();
    KeyPart part{"", at_};
    if (peek() == '"' || peek() == '\'') {
      MIRRORD_TRY(quoted, string());
      part.name = std::move(quoted);
    } else {
      while (is_bare(peek()))
        part.name += text_[at_++];
      if (part.name.empty())
        return unexpected("a key",
                          peek() == '{' ? "This looks like JSON: name the file .json." : "");
    }
    path.push_back(std::move(part));
    skip_space();
  } while (take("."));
  if (path.size() > kDeepest)
    return error("nested too deeply");
  return path;
}

Result<Node> Parser::value(int depth) {
  skip_space();
  if (depth > kDeepest)
    return error("nested too deeply");
  const std::size_t begin = at_;
  if (peek() == '"' || peek() == '\'') {
    MIRRORD_TRY(text, string());
    Node node;
    node.type = Type::kString;
    node.text = std::move(text);
    node.offset = begin;
    return node;
  }
  if (peek() == '[')
    return array(depth);
  return peek() == '{' ? inline_table(depth) : plain();
}

Result<Node> Parser::array(int depth) {
  Node node;
  node.type = Type::kArray;
  node.offset = at_++;
  for (skip_blank(); !take("]"); skip_blank()) {
    MIRRORD_TRY(item, value(depth + 1));
    node.items.push_back(std::move(item));
    skip_blank();
    if (!take(",") && peek() != ']')
      return unexpected("a comma or `]`", "A list before it may not be closed.");
  }
  return node;
}

Result<Node> Parser::inline_table(int depth) {
  Node node = empty_table(at_++);
  skip_space();
  if (take("}")) {
    closed_.insert(node.offset);
    return node;
  }
  do {
    MIRRORD_CHECK_STATUS(assignment(node, depth + 1));
    skip_space();
  } while (take(","));
  if (!take("}"))
    return unexpected("a comma or `}`");
  closed_.insert(node.offset);
  return node;
}

bool is_digits(std::string_view text, std::string_view digits) {
  return !text.empty() && text.find_first_not_of(digits) == std::string_view::npos;
}

// The digits of 0x1F, 0o17 and 0b101 in decimal; nothing if it is none or too large.
std::optional<std::string> based_number(std::string_view word) {
  const int base = word.starts_with("0x") ? 16 : word.starts_with("0o") ? 8 : 2;
  uint64_t value = 0;
  if (base == 2 && !word.starts_with("0b"))
    return std::nullopt;
  word.remove_prefix(2);
  const auto [end, code] = std::from_chars(word.data(), word.data() + word.size(), value, base);
  if (code != std::errc() || end != word.data() + word.size())
    return std::nullopt;
  return std::to_string(value);
}

// A decimal number of TOML without its sign and separators.
bool is_decimal(std::string_view word) {
  constexpr std::string_view kDigits = "0123456789";
  const std::size_t exponent = std::min(word.find_first_of("eE"), word.size());
  if (exponent < word.size()) {
    std::string_view power = word.substr(exponent + 1);
    if (power.starts_with('-') || power.starts_with('+'))
      power.remove_prefix(1);
    if (!is_digits(power, kDigits))
      return false;
  }
  std::string_view whole = word.substr(0, exponent);
  if (const std::size_t dot = whole.find('.'); dot != std::string_view::npos) {
    if (!is_digits(whole.substr(dot + 1), kDigits))
      return false;
    whole = whole.substr(0, dot);
  }
  return is_digits(whole, kDigits) && (whole.size() == 1 || whole[0] != '0');
}

// Each `_` stands between two digits.
bool has_good_separators(std::string_view word) {
  for (std::size_t at = word.find('_'); at != word.npos; at = word.find('_', at + 1)) {
    const auto is_digit = [&](std::size_t i) {
      return i < word.size() && std::isxdigit(static_cast<unsigned char>(word[i])) != 0;
    };
    if (at == 0 || !is_digit(at - 1) || !is_digit(at + 1))
      return false;
  }
  return true;
}

std::string advice_on(std::string_view word) {
  const bool is_number = !word.empty() && word[0] >= '0' && word[0] <= '9';
  if (is_number && (word.find(':') != word.npos || std::ranges::count(word, '-') == 2))
    return "No setting takes a date or a time; put a text in quotes.";
  if (word == "True" || word == "False" || word == "TRUE" || word == "FALSE")
    return "Write true and false in lower case.";
  if (is_number)
    return "Numbers have no zeros before them, no unit, and `_` only between digits.";
  return word.empty() ? "" : "Put a text in quotes.";
}

Result<Node> Parser::plain() {
  const std::size_t begin = at_;
  while (is_bare(peek()) || peek() == '+' || peek() == '.' || peek() == ':')
    ++at_;
  const std::string_view written = text_.substr(begin, at_ - begin);
  std::string word(written);
  Node node;
  node.offset = begin;
  if (word == "true" || word == "false") {
    node.type = Type::kBool;
    node.boolean = word == "true";
    return node;
  }
  std::erase(word, '_');
  if (word.starts_with('+'))
    word.erase(0, 1);
  const bool is_negative = word.starts_with('-');
  if (auto decimal = based_number(word); decimal && has_good_separators(written)) {
    word = std::move(*decimal);
  } else if (!has_good_separators(written) ||
             !is_decimal(std::string_view(word).substr(is_negative ? 1 : 0))) {
    at_ = begin;
    return unexpected("a value: a string, number, list, table, true or false", advice_on(written));
  }
  node.type = Type::kNumber;
  node.text = std::move(word);
  return node;
}

// Where a control character stands that a string may not hold.
std::size_t find_control(std::string_view text, bool is_long) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_line_break = text[i] == '\n' || text[i] == '\r';
    if ((static_cast<unsigned char>(text[i]) < 0x20 && text[i] != '\t' &&
         !(is_long && is_line_break)) ||
        text[i] == 0x7F)
      return i;
  }
  return text.npos;
}

std::unexpected<Error> Parser::unclosed(std::size_t begin) const {
  return error_at(begin, "a string without its closing quote",
                  "A text of several lines stands in three quotes on each side.");
}

std::unexpected<Error> Parser::control_character(std::size_t at) const {
  return error_at(at, "a control character inside a string", "Write it as an escape: \\u00….");
}

Result<std::string> Parser::string() {
  const char quote = peek();
  const bool is_long = peek(1) == quote && peek(2) == quote;
  at_ += is_long ? 3 : 1;
  if (is_long) {
    take("\r");
    take("\n");
  }
  return quote == '"' ? basic_string(is_long) : literal_string(is_long);
}

Result<std::string> Parser::literal_string(bool is_long) {
  const std::string_view closing = is_long ? "'''" : "'";
  const std::size_t end = text_.find(closing, at_);
  const std::string text(text_.substr(at_, end == text_.npos ? end : end - at_));
  if (end == text_.npos || (!is_long && text.find('\n') != text.npos))
    return unclosed(at_ - closing.size());
  if (const std::size_t bad = find_control(text, is_long); bad != text.npos)
    return control_character(at_ + bad);
  at_ = end + closing.size();
  return text;
}

Result<std::string> Parser::basic_string(bool is_long) {
  const std::size_t begin = at_ - (is_long ? 3 : 1);
  std::string out;
  while (at_ < text_.size()) {
    if (take(is_long ? "\"\"\"" : "\""))
      return out;
    if (peek() == '\n' && !is_long)
      break;
    if (find_control(text_.substr(at_, 1), is_long) == 0)
      return control_character(at_);
    if (peek() == '\\')
      MIRRORD_CHECK_STATUS(escape(out));
    else
      out += text_[at_++];
  }
  return unclosed(begin);
}

Status Parser::escape(std::string& out) {
  constexpr std::string_view kLetters = "btnfr\"\\";
  constexpr std::string_view kValues = "\b\t\n\f\r\"\\";
  const char c = peek(1);
  if (const std::size_t known = kLetters.find(c); c != '\0' && known != kLetters.npos) {
    out += kValues[known];
    at_ += 2;
    return {};
  }
  if (c == '\n' || c == '\r') {  // a line that goes on: blanks before its next word do not count
    ++at_;
    while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r')
      ++at_;
    return {};
  }
  const std::size_t length = c == 'u' ? 4 : c == 'U' ? 8 : 0;
  uint32_t code = 0;
  for (std::size_t i = 0; i < length; ++i) {
    const std::size_t digit = std::string_view("0123456789abcdefABCDEF").find(peek(2 + i));
    if (peek(2 + i) == '\0' || digit == std::string_view::npos)
      return error("a \\u escape without its hexadecimal digits");
    code = code << 4 | static_cast<uint32_t>(digit < 16 ? digit : digit - 6);
  }
  if (length == 0 || code == 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
    return error("an unknown escape", "Write a backslash as \\\\, or use single quotes.");
  append_utf8(out, code);
  at_ += 2 + length;
  return {};
}

}  // namespace

Result<Node> parse_toml(std::string_view text, std::string_view name) {
  return Parser(text, name).run();
}

}  // namespace mirrord::config
