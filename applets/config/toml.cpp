// applets/config/toml.cpp — a reader of TOML that keeps the place of every key and value.
#include "applets/config/toml.h"

#include <algorithm>
#include <set>
#include <utility>

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
  std::unexpected<Error> error(const std::string& why) const { return error_at(at_, why); }
  std::unexpected<Error> error_at(std::size_t offset, const std::string& why) const {
    return fail(ErrorCode::kConfig, std::string(name_) + ":" + position_text(text_, offset) +
                                        ": not valid TOML: " + why);
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
      return error("one key and its value stand on a line");
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

  std::string_view text_;
  std::string_view name_;
  std::size_t at_ = 0;
  Node root_;
  KeyPath open_;                   // of the last header
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
    return error(is_list ? "expected `]]`" : "expected `]`");
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
    return error("expected `=` after the key");
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
        return error("expected a key");
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
      return error("expected `,` or `]`");
  }
  return node;
}

Result<Node> Parser::inline_table(int depth) {
  Node node = empty_table(at_++);
  skip_space();
  if (take("}"))
    return node;
  do {
    MIRRORD_CHECK_STATUS(assignment(node, depth + 1));
    skip_space();
  } while (take(","));
  if (!take("}"))
    return error("expected `,` or `}`");
  return node;
}

Result<Node> Parser::plain() {
  const std::size_t begin = at_;
  while (is_bare(peek()) || peek() == '+' || peek() == '.' || peek() == ':')
    ++at_;
  std::string word(text_.substr(begin, at_ - begin));
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
  const std::size_t first = word.starts_with('-') ? 1 : 0;
  const bool is_number = word.size() > first && word[first] >= '0' && word[first] <= '9' &&
                         word.find_first_not_of("0123456789.eE+-", first) == word.npos &&
                         word.find('-', 1) == word.npos;
  if (!is_number)
    return error_at(begin,
                    "expected a value: a string in quotes, a number, true, false, a list "
                    "or a table");
  node.type = Type::kNumber;
  node.text = std::move(word);
  return node;
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
    return error("a string without its closing quote");
  at_ = end + closing.size();
  return text;
}

Result<std::string> Parser::basic_string(bool is_long) {
  std::string out;
  while (at_ < text_.size()) {
    if (take(is_long ? "\"\"\"" : "\""))
      return out;
    if (peek() == '\n' && !is_long)
      break;
    if (peek() == '\\')
      MIRRORD_CHECK_STATUS(escape(out));
    else
      out += text_[at_++];
  }
  return error("a string without its closing quote");
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
      return error("a wrong \\u escape");
    code = code << 4 | static_cast<uint32_t>(digit < 16 ? digit : digit - 6);
  }
  if (length == 0 || code == 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
    return error("an unknown escape (write a backslash as \\\\, or use single quotes)");
  append_utf8(out, code);
  at_ += 2 + length;
  return {};
}

}  // namespace

Result<Node> parse_toml(std::string_view text, std::string_view name) {
  return Parser(text, name).run();
}

}  // namespace mirrord::config
