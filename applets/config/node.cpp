// applets/config/node.cpp — strict JSON through cJSON, with the position of every key and value.
//
// cJSON gives the values but no positions, and takes some texts that are not JSON. So a scanner
// walks the text first: it checks the grammar of numbers and strings and notes where each value
// starts, in the order in which cJSON's tree has them.
#include "applets/config/node.h"

#include <cjson/cJSON.h>

#include <algorithm>
#include <memory>

namespace mirrord::config {
namespace {

constexpr int kDeepest = 64;

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
      return error("text after the end of the configuration");
    return std::move(scan_);
  }

 private:
  std::unexpected<Error> error(std::string_view what) const {
    return fail(ErrorCode::kConfig,
                std::string(name_) + ":" + position_text(text_, at_) +
                    ": not valid JSON: " + std::string(what),
                "JSON has no comments and no trailing commas; `mirrord verify-config` checks a "
                "file.");
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
    return error("the text ends where a value should be");
  if (depth > kDeepest)
    return error("nested too deeply");
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
      return error("expected a key in double quotes");
    scan_.keys.push_back({at_, 0});
    MIRRORD_CHECK_STATUS(string());
    if (!take(':'))
      return error("expected ':' after the key");
    MIRRORD_CHECK_STATUS(value(depth + 1));
  } while (take(','));
  if (!take('}'))
    return error("expected ',' or '}'");
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
    return error("expected ',' or ']'");
  return {};
}

Status Scanner::string() {
  ++at_;
  while (at_ < text_.size() && text_[at_] != '"') {
    if (static_cast<unsigned char>(text_[at_]) < 0x20)
      return error("a line break or control character inside a string");
    if (text_[at_] == '\\')
      MIRRORD_CHECK_STATUS(escape());
    else
      ++at_;
  }
  if (at_ >= text_.size())
    return error("a string without its closing quote");
  ++at_;
  return {};
}

Status Scanner::escape() {
  const char c = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
  if (c == '\0' || std::string_view("\"\\/bfnrtu").find(c) == std::string_view::npos)
    return error("an unknown escape (write a backslash as \\\\)");
  if (text_.substr(at_).starts_with("\\u0000"))
    return error("a zero byte inside a string");
  at_ += 2;
  return {};
}

Status Scanner::number() {
  const auto digits = [this] {
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9')
      ++at_;
    return at_ - begin;
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
  return good ? Status() : error("a number of a wrong form");
}

Status Scanner::word() {
  for (const std::string_view known : {"true", "false", "null"}) {
    if (text_.substr(at_).starts_with(known)) {
      at_ += known.size();
      return {};
    }
  }
  return error("expected a value: a string, number, list, object, true, false or null");
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
                    std::string(name_) + ":" + position_text(text_, offset) + ": the key `" + key +
                        "` stands here a second time",
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
                                        ": not valid JSON: a string has a wrong \\u escape");
  }
  return Builder(text, name, scan).build(tree.get());
}

}  // namespace mirrord::config
