// applets/config/node.cpp — strict JSON through cJSON, with the position of every key and value.
//
// cJSON gives the values but no positions, and takes some texts that are not JSON. So a scanner
// walks the text first: it checks the grammar of numbers and strings and notes where each value
// starts, in the order in which cJSON's tree has them.
#include "applets/config/node.h"

#include <cjson/cJSON.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>

#include "applets/config/message.h"

namespace mirrord::config {
namespace {

constexpr int kDeepest = 64;
constexpr std::size_t kLongestNumber = 62;  // cJSON takes no longer ones

struct Place {
  std::size_t offset;
  std::size_t length;  // of a number's digits
};

struct Scan {
  std::vector<Place> keys;
  std::vector<Place> values;
};

class Scanner {
 public:
  Scanner(std::string_view text, std::string_view name) : text_(text), name_(name) {}

  Result<Scan> run() {
    MIRRORD_CHECK_STATUS(value(0));
    skip_space();
    if (at_ < text_.size())
      return error("text after the end of the configuration: " + found(),
                   "A file is one object; remove what stands after its closing brace.");
    return std::move(scan_);
  }

 private:
  std::unexpected<Error> error(std::string_view what, std::string_view hint = {}) const {
    return fail(ErrorCode::kConfig,
                std::string(name_) + ":" + position_text(text_, at_) +
                    ": not valid JSON: " + std::string(what),
                std::string(hint));
  }
  // The same, with what the text at hand suggests.
  std::unexpected<Error> unexpected(std::string_view expected) const {
    return error("expected " + std::string(expected) + ", found " + found(), advice());
  }

  std::string found() const {
    if (at_ >= text_.size())
      return "the end of the file";
    const std::string_view rest = text_.substr(at_);
    if (rest.front() == '"')
      return "`" + quotable(rest.substr(0, rest.find_first_of("\"\n", 1))) + "\"`";
    const std::size_t length = rest.find_first_of(" \t\r\n,:[]{}\"");
    return "`" + quotable(length == 0 ? rest.substr(0, 1) : rest.substr(0, length)) + "`";
  }

  std::string_view advice() const {
    const std::string_view rest = text_.substr(at_);
    if (rest.empty())
      return "A bracket or brace that was opened is not closed.";
    const char c = rest.front();
    if (scan_.keys.empty() && scan_.values.size() <= 1 && is_letter(c))
      return "A file of this name is read as JSON; name a YAML file .yaml.";
    if (rest.starts_with("\xC2\xA0") || rest.starts_with("\xEF\xBB\xBF"))
      return "It is invisible; remove it.";
    if (c == '#' || rest.starts_with("//") || rest.starts_with("/*"))
      return "JSON has no comments; remove it, or use YAML.";
    if (c == '\'')
      return "Strings stand in double quotes.";
    if (c == ',')
      return "Remove one of the commas.";
    if ((c == '}' || c == ']') && before() == ',')
      return "Remove the comma before it.";
    if ((c == '}' || c == ']'))
      return "Brackets and braces must be closed in the order in which they were opened.";
    if (c == '=')
      return "Write a colon between a key and its value.";
    if (c == '"')
      return "A comma may be missing before it.";
    for (const std::string_view word : {"True", "False", "TRUE", "FALSE", "None", "Null", "NULL"}) {
      if (rest.starts_with(word))
        return "Write true, false and null in lower case.";
    }
    return is_letter(c) ? "Texts and keys stand in double quotes." : "";
  }

  static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

  // The last character before this place that is no blank.
  char before() const {
    const std::size_t at = text_.substr(0, at_).find_last_not_of(" \t\r\n");
    return at == std::string_view::npos ? '\0' : text_[at];
  }

  void skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
  }

  bool take(char wanted) {
    skip_space();
    if (at_ < text_.size() && text_[at_] == wanted) {
      ++at_;
      return true;
    }
    return false;
  }

  Status value(int depth);
  Status object(int depth);
  Status array(int depth);
  Status string();
  Status escape();
  std::optional<unsigned> code_unit(std::size_t at) const;
  Status number();
  Status word();

  std::string_view text_;
  std::string_view name_;
  std::size_t at_ = 0;
  Scan scan_;
};

Status Scanner::value(int depth) {
  skip_space();
  if (at_ >= text_.size())
    return scan_.values.empty()
               ? error("the file is empty", "Write {} for a configuration without settings.")
               : unexpected("a value");
  if (depth > kDeepest)
    return error("nested too deeply", "No setting is that deep.");
  const std::size_t index = scan_.values.size();
  const std::size_t begin = at_;
  scan_.values.push_back({begin, 0});
  const char c = text_[at_];
  Status status = c == '{'                             ? object(depth)
                  : c == '['                           ? array(depth)
                  : c == '"'                           ? string()
                  : c == '-' || (c >= '0' && c <= '9') ? number()
                                                       : word();
  scan_.values[index].length = at_ - begin;
  return status;
}

Status Scanner::object(int depth) {
  ++at_;
  if (take('}'))
    return {};
  do {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != '"')
      return unexpected("a key in double quotes");
    scan_.keys.push_back({at_, 0});
    MIRRORD_CHECK_STATUS(string());
    if (!take(':'))
      return unexpected("a colon after the key");
    MIRRORD_CHECK_STATUS(value(depth + 1));
  } while (take(','));
  if (!take('}'))
    return unexpected("a comma or `}`");
  return {};
}

Status Scanner::array(int depth) {
  ++at_;
  if (take(']'))
    return {};
  do {
    MIRRORD_CHECK_STATUS(value(depth + 1));
  } while (take(','));
  if (!take(']'))
    return unexpected("a comma or `]`");
  return {};
}

Status Scanner::string() {
  const std::size_t begin = at_++;
  while (at_ < text_.size() && text_[at_] != '"') {
    if (text_[at_] == '\n' || text_[at_] == '\r')
      break;
    if (static_cast<unsigned char>(text_[at_]) < 0x20)
      return error("a control character inside a string",
                   text_[at_] == '\t' ? "Write a tab as \\t." : "Write it as an escape: \\u00….");
    if (text_[at_] == '\\')
      MIRRORD_CHECK_STATUS(escape());
    else
      ++at_;
  }
  if (at_ >= text_.size() || text_[at_] != '"') {
    at_ = begin;
    return error("a string without its closing quote", "Write a line break inside it as \\n.");
  }
  ++at_;
  return {};
}

Status Scanner::escape() {
  const char c = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
  if (c == '\0' || std::string_view("\"\\/bfnrtu").find(c) == std::string_view::npos)
    return error("an unknown escape", "Write a backslash as \\\\.");
  if (c != 'u') {
    at_ += 2;
    return {};
  }
  const auto first = code_unit(at_);
  if (!first)
    return error("a \\u escape without its four hexadecimal digits");
  if (*first == 0)
    return error("a zero byte inside a string", "Remove it: no setting can hold one.");
  const bool is_lead = *first >= 0xD800 && *first < 0xDC00;
  const unsigned second = is_lead ? code_unit(at_ + 6).value_or(0) : 0;
  const bool is_paired = second >= 0xDC00 && second < 0xE000;
  if ((*first >= 0xD800 && *first < 0xE000) && !is_paired)
    return error("half of a \\u surrogate pair", "Write the character itself, in UTF-8.");
  at_ += is_lead ? 12 : 6;
  return {};
}

std::optional<unsigned> Scanner::code_unit(std::size_t at) const {
  const std::string_view escape = text_.substr(std::min(at, text_.size()), 6);
  unsigned code = 0;
  if (escape.size() < 6 || !escape.starts_with("\\u"))
    return std::nullopt;
  const auto [end, status] = std::from_chars(escape.data() + 2, escape.data() + 6, code, 16);
  return status == std::errc() && end == escape.data() + 6 ? std::optional(code) : std::nullopt;
}

Status Scanner::number() {
  const std::size_t begin = at_;
  const auto digits = [this] {
    const std::size_t from = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9')
      ++at_;
    return at_ - from;
  };
  if (text_[at_] == '-')
    ++at_;
  const bool leading_zero = at_ < text_.size() && text_[at_] == '0';
  const std::size_t whole = digits();
  bool good = whole > 0 && !(leading_zero && whole > 1);
  if (at_ < text_.size() && text_[at_] == '.') {
    ++at_;
    good = digits() > 0 && good;
  }
  if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
    ++at_;
    if (at_ < text_.size() && (text_[at_] == '+' || text_[at_] == '-'))
      ++at_;
    good = digits() > 0 && good;
  }
  // Letters that go on belong to it for the user: 0x1E, 10s, 128_000.
  good = good && (at_ >= text_.size() || !(is_letter(text_[at_]) || text_[at_] == '_'));
  const std::size_t length = at_ - begin;
  at_ = begin;
  if (!good)
    return error("a number of a wrong form: " + found(),
                 "Numbers are decimal, without leading zeros, units or separators.");
  if (length > kLongestNumber)
    return error("a number with too many digits");
  at_ = begin + length;
  return {};
}

Status Scanner::word() {
  for (const std::string_view known : {"true", "false", "null"}) {
    if (text_.substr(at_).starts_with(known)) {
      at_ += known.size();
      return {};
    }
  }
  if (text_[at_] == '+')
    return error("a number of a wrong form: " + found(), "Remove the plus sign.");
  return unexpected("a value");
}

// Copies cJSON's tree, taking the places in the same order.
class Builder {
 public:
  Builder(std::string_view text, std::string_view name, const Scan& scan)
      : text_(text), name_(name), scan_(scan) {}

  Result<Node> build(const cJSON* from) {
    const Place place = scan_.values[next_value_++];
    Node node;
    node.offset = place.offset;
    if (cJSON_IsBool(from)) {
      node.type = Node::Type::kBool;
      node.boolean = cJSON_IsTrue(from);
    } else if (cJSON_IsNumber(from)) {
      node.type = Node::Type::kNumber;
      node.text = text_.substr(place.offset, place.length);
    } else if (cJSON_IsString(from)) {
      node.type = Node::Type::kString;
      node.text = from->valuestring;
    } else if (cJSON_IsArray(from)) {
      node.type = Node::Type::kArray;
      for (const cJSON* item = from->child; item != nullptr; item = item->next) {
        MIRRORD_TRY(child, build(item));
        node.items.push_back(std::move(child));
      }
    } else if (cJSON_IsObject(from)) {
      node.type = Node::Type::kObject;
      MIRRORD_CHECK_STATUS(members(from, node));
    }
    return node;
  }

 private:
  Status members(const cJSON* from, Node& node) {
    for (const cJSON* item = from->child; item != nullptr; item = item->next) {
      const std::size_t offset = scan_.keys[next_key_++].offset;
      const std::string key = item->string;
      if (node.member(key) != nullptr)
        return fail(ErrorCode::kConfig,
                    std::string(name_) + ":" + position_text(text_, offset) + ": the key `" +
                        quotable(key) + "` stands here a second time",
                    "Keep one of the two.");
      MIRRORD_TRY(child, build(item));
      node.members.push_back({key, offset, std::move(child)});
    }
    return {};
  }

  std::string_view text_;
  std::string_view name_;
  const Scan& scan_;
  std::size_t next_value_ = 0;
  std::size_t next_key_ = 0;
};

}  // namespace

const Node* Node::member(std::string_view key) const {
  const auto found = std::ranges::find(members, key, &Member::key);
  return found == members.end() ? nullptr : &found->value;
}

const Node* Node::set_member(std::string_view key) const {
  const Node* found = member(key);
  return found != nullptr && found->type != Type::kNull ? found : nullptr;
}

const Node& Node::at(std::string_view key) const {
  static const Node nothing;
  const Node* found = member(key);
  return found != nullptr ? *found : nothing;
}

std::string_view Node::type_name() const {
  switch (type) {
    case Type::kNull:
      return "null";
    case Type::kBool:
      return "true or false";
    case Type::kNumber:
      return "a number";
    case Type::kString:
      return "a string";
    case Type::kArray:
      return "a list";
    case Type::kObject:
      return "an object";
  }
  return "";
}

std::string position_text(std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const auto line = std::ranges::count(before, '\n') + 1;
  const std::size_t start = before.rfind('\n');  // npos + 1 is 0
  return std::to_string(line) + ":" + std::to_string(offset - (start + 1) + 1);
}

Result<Node> parse_json(std::string_view text, std::string_view name) {
  MIRRORD_TRY(scan, Scanner(text, name).run());
  const std::unique_ptr<cJSON, decltype(&cJSON_Delete)> tree(
      cJSON_ParseWithLength(text.data(), text.size()), cJSON_Delete);
  if (tree == nullptr) {
    const char* at = cJSON_GetErrorPtr();
    const std::size_t offset = at != nullptr && at >= text.data() && at <= text.data() + text.size()
                                   ? static_cast<std::size_t>(at - text.data())
                                   : 0;
    return fail(ErrorCode::kConfig, std::string(name) + ":" + position_text(text, offset) +
                                        ": not valid JSON: it cannot be read from here");
  }
  return Builder(text, name, scan).build(tree.get());
}

}  // namespace mirrord::config
