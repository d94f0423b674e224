// net/yaml.cpp — builds values from libyaml's events.
#include "net/yaml.h"

#include <yaml.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "net/yaml_problem.h"

namespace mirrord::net {
namespace {

using Type = YamlNode::Type;

constexpr int kDeepest = 100;
// Aliases can make a short text stand for a huge value.
constexpr std::size_t kMostValues = 100'000;
constexpr std::size_t kMostBytes = std::size_t{64} * 1024 * 1024;

// Where libyaml's lines begin, to turn its marks (which count characters) into byte offsets.
class Lines {
 public:
  explicit Lines(std::string_view text) : text_(text) {
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t length = line_break(i);
      i += length == 0 ? 1 : length;
      if (length != 0) {
        starts_.push_back(i);
      }
    }
  }

  // Both from 0; `column` in characters.
  [[nodiscard]] std::size_t offset(std::size_t line, std::size_t column) const {
    std::size_t at = line < starts_.size() ? starts_[line] : text_.size();
    for (; column > 0 && at < text_.size(); --column) {
      ++at;
      while (at < text_.size() && (static_cast<unsigned char>(text_[at]) & 0xC0) == 0x80) {
        ++at;
      }
    }
    return at;
  }

 private:
  // The length of the line break at `at`, or 0.
  [[nodiscard]] std::size_t line_break(std::size_t at) const {
    const std::string_view rest = text_.substr(at);
    for (const std::string_view end :
         {"\r\n", "\n", "\r", "\xC2\x85", "\xE2\x80\xA8", "\xE2\x80\xA9"}) {
      if (rest.starts_with(end)) {
        return end.size();
      }
    }
    return 0;
  }

  std::string_view text_;
  std::vector<std::size_t> starts_{0};
};

bool all_of(std::string_view text, std::string_view allowed) {
  return !text.empty() && text.find_first_not_of(allowed) == std::string_view::npos;
}

constexpr std::string_view kDigits = "0123456789";

// 0x1F and 0o17 in decimal; nothing for what does not fit into 64 bits.
std::optional<std::string> based_number(std::string_view text) {
  const bool is_hex = text.starts_with("0x");
  if (!is_hex && !text.starts_with("0o")) {
    return std::nullopt;
  }
  const std::string_view digits = text.substr(2);
  if (!all_of(digits, is_hex ? "0123456789abcdefABCDEF" : "01234567") || digits.size() > 15) {
    return std::nullopt;
  }
  return std::to_string(std::stoull(std::string(digits), nullptr, is_hex ? 16 : 8));
}

// A decimal number in JSON's form: no plus sign, no leading zeros, a digit around the point.
std::optional<std::string> decimal_number(std::string_view text) {
  const bool is_negative = text.starts_with('-');
  if (is_negative || text.starts_with('+')) {
    text.remove_prefix(1);
  }
  const std::size_t whole_end = std::min(text.find_first_not_of(kDigits), text.size());
  std::string_view whole = text.substr(0, whole_end);
  std::string_view rest = text.substr(whole_end);
  std::string_view fraction;
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    const std::size_t end = std::min(rest.find_first_not_of(kDigits), rest.size());
    fraction = rest.substr(0, end);
    rest.remove_prefix(end);
  }
  if (whole.empty() && fraction.empty()) {
    return std::nullopt;
  }
  if (!rest.empty()) {
    std::string_view exponent = rest.substr(1);
    if (exponent.starts_with('-') || exponent.starts_with('+')) {
      exponent.remove_prefix(1);
    }
    if ((rest[0] != 'e' && rest[0] != 'E') || !all_of(exponent, kDigits)) {
      return std::nullopt;
    }
  }
  while (whole.size() > 1 && whole.starts_with('0')) {
    whole.remove_prefix(1);
  }
  std::string number = is_negative ? "-" : "";
  number += whole.empty() ? "0" : whole;
  if (!fraction.empty()) {
    number += '.';
    number += fraction;
  }
  number += rest;
  return number;
}

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, text) != words.end();
}

YamlNode scalar_node(std::string_view text, bool is_plain) {
  YamlNode node;
  if (is_plain) {
    if (is_one_of(text, {"", "~", "null", "Null", "NULL"})) {
      return node;
    }
    const bool is_true = is_one_of(text, {"true", "True", "TRUE"});
    if (is_true || is_one_of(text, {"false", "False", "FALSE"})) {
      node.type = Type::kBool;
      node.boolean = is_true;
      return node;
    }
    auto number = based_number(text);
    if (!number) {
      number = decimal_number(text);
    }
    if (number) {
      node.type = Type::kNumber;
      node.text = std::move(*number);
      return node;
    }
  }
  node.type = Type::kString;
  node.text = text;
  return node;
}

std::string_view text_of(const yaml_char_t* text) {
  return text == nullptr ? std::string_view() : reinterpret_cast<const char*>(text);
}

class Event {
 public:
  Event() = default;
  ~Event() { yaml_event_delete(&event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  yaml_event_t* get() { return &event_; }
  yaml_event_t* operator->() { return &event_; }

 private:
  yaml_event_t event_{};
};

class Reader {
 public:
  Reader(std::string_view text, std::string_view name) : text_(text), name_(name), lines_(text) {
    if (yaml_parser_initialize(&parser_) == 0) {
      throw std::bad_alloc();
    }
    yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()),
                                 text.size());
  }
  ~Reader() { yaml_parser_delete(&parser_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  Result<std::vector<YamlNode>> run() {
    std::vector<YamlNode> documents;
    while (true) {
      Event event;
      MIRRORD_CHECK_STATUS(next(event));
      if (event->type == YAML_STREAM_END_EVENT) {
        return documents;
      }
      if (event->type == YAML_DOCUMENT_START_EVENT) {
        anchors_.clear();
        Event root;
        MIRRORD_CHECK_STATUS(next(root));
        MIRRORD_TRY(node, value(root, 0));
        documents.push_back(std::move(node));
      }
    }
  }

 private:
  Status next(Event& event) {
    if (yaml_parser_parse(&parser_, event.get()) != 0) {
      return {};
    }
    if (parser_.error == YAML_MEMORY_ERROR) {
      throw std::bad_alloc();
    }
    const std::string why = parser_.problem == nullptr ? "it cannot be read" : parser_.problem;
    if (parser_.error == YAML_READER_ERROR) {
      return error_at(std::min(parser_.problem_offset, text_.size()), why);
    }
    const std::size_t at = place(parser_.problem_mark);
    const YamlProblem problem = yaml_problem(why, text_.substr(std::min(at, text_.size())));
    const bool is_at_context = problem.is_at_context && parser_.context != nullptr;
    return error_at(is_at_context ? place(parser_.context_mark) : at, problem.why);
  }

  [[nodiscard]] std::size_t place(const yaml_mark_t& mark) const {
    return lines_.offset(mark.line, mark.column);
  }

  std::unexpected<Error> error_at(std::size_t offset, const std::string& why) const {
    std::size_t line = 1;
    std::size_t column = 1;
    for (const char c : text_.substr(0, offset)) {
      ++column;
      if (c == '\n') {
        ++line;
        column = 1;
      }
    }
    return fail(ErrorCode::kConfig, std::string(name_) + ":" + std::to_string(line) + ":" +
                                        std::to_string(column) + ": not valid YAML: " + why);
  }

  // Counts values and bytes, also those that an alias copies.
  Status count(const YamlNode& node, std::size_t offset) {
    bytes_ += node.text.size();
    if (++values_ > kMostValues || bytes_ > kMostBytes) {
      return error_at(offset, "it stands for too many values");
    }
    for (const YamlNode& item : node.items) {
      MIRRORD_CHECK_STATUS(count(item, offset));
    }
    for (const YamlNode::Member& member : node.members) {
      bytes_ += member.key.size();
      MIRRORD_CHECK_STATUS(count(member.value, offset));
    }
    return {};
  }

  Result<YamlNode> value(Event& event, int depth) {
    const std::size_t offset = place(event->start_mark);
    if (depth > kDeepest) {
      return error_at(offset, "nested too deeply");
    }
    switch (event->type) {
      case YAML_ALIAS_EVENT: {
        const auto found = anchors_.find(text_of(event->data.alias.anchor));
        if (found == anchors_.end()) {
          return error_at(offset, "the alias `*" + std::string(text_of(event->data.alias.anchor)) +
                                      "` has no anchor that ends before it");
        }
        if (found->second.depth + depth > kDeepest) {
          return error_at(offset, "nested too deeply");
        }
        MIRRORD_CHECK_STATUS(count(found->second.node, offset));
        return found->second.node;
      }
      case YAML_SCALAR_EVENT:
        return scalar(event, offset);
      case YAML_SEQUENCE_START_EVENT:
        return sequence(text_of(event->data.sequence_start.anchor), offset, depth);
      case YAML_MAPPING_START_EVENT:
        return mapping(text_of(event->data.mapping_start.anchor), offset, depth);
      default:
        return error_at(offset, "expected a value");
    }
  }

  Result<YamlNode> scalar(Event& event, std::size_t offset) {
    const auto& data = event->data.scalar;
    const std::string_view text(reinterpret_cast<const char*>(data.value), data.length);
    const std::string_view tag = text_of(data.tag);
    const bool is_plain = data.style == YAML_PLAIN_SCALAR_STYLE &&
                          (tag.empty() || (tag != "!" && tag != YAML_STR_TAG));
    YamlNode node = scalar_node(text, is_plain);
    node.offset = offset;
    MIRRORD_CHECK_STATUS(count(node, offset));
    MIRRORD_CHECK_STATUS(remember(text_of(data.anchor), node));
    return node;
  }

  Result<YamlNode> sequence(std::string_view anchor_text, std::size_t offset, int depth) {
    const std::string anchor(anchor_text);
    YamlNode node;
    node.type = Type::kSequence;
    node.offset = offset;
    MIRRORD_CHECK_STATUS(count(node, offset));
    while (true) {
      Event event;
      MIRRORD_CHECK_STATUS(next(event));
      if (event->type == YAML_SEQUENCE_END_EVENT) {
        break;
      }
      MIRRORD_TRY(item, value(event, depth + 1));
      node.items.push_back(std::move(item));
    }
    MIRRORD_CHECK_STATUS(remember(anchor, node));
    return node;
  }

  Result<YamlNode> mapping(std::string_view anchor_text, std::size_t offset, int depth) {
    const std::string anchor(anchor_text);
    YamlNode node;
    node.type = Type::kMapping;
    node.offset = offset;
    MIRRORD_CHECK_STATUS(count(node, offset));
    std::map<std::string, std::size_t, std::less<>> known;
    std::vector<YamlNode> merged;
    while (true) {
      Event event;
      MIRRORD_CHECK_STATUS(next(event));
      if (event->type == YAML_MAPPING_END_EVENT) {
        break;
      }
      const std::size_t at = place(event->start_mark);
      MIRRORD_TRY(key, key_text(event, at));
      const bool is_merge = event->type == YAML_SCALAR_EVENT && key == "<<" &&
                            event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
      Event content;
      MIRRORD_CHECK_STATUS(next(content));
      MIRRORD_TRY(item, value(content, depth + 1));
      if (is_merge) {
        merged.push_back(std::move(item));
        continue;
      }
      if (!known.emplace(key, at).second) {
        return error_at(at, "the key `" + key + "` stands here a second time");
      }
      node.members.push_back({std::move(key), at, std::move(item)});
    }
    for (YamlNode& source : merged) {
      MIRRORD_CHECK_STATUS(merge(node, known, source));
    }
    MIRRORD_CHECK_STATUS(remember(anchor, node));
    return node;
  }

  Result<std::string> key_text(Event& event, std::size_t at) {
    if (event->type == YAML_SCALAR_EVENT) {
      const auto& data = event->data.scalar;
      bytes_ += data.length;
      std::string key(reinterpret_cast<const char*>(data.value), data.length);
      YamlNode node = scalar_node(key, false);
      node.offset = at;
      MIRRORD_CHECK_STATUS(remember(text_of(data.anchor), node));
      return key;
    }
    if (event->type == YAML_ALIAS_EVENT) {
      const auto found = anchors_.find(text_of(event->data.alias.anchor));
      if (found != anchors_.end() && found->second.node.type == Type::kString) {
        return found->second.node.text;
      }
    }
    return error_at(at, "a key must be a text");
  }

  // The key `<<`: members of other mappings, where there is none of that name yet.
  Status merge(YamlNode& node, std::map<std::string, std::size_t, std::less<>>& known,
               YamlNode& source) {
    if (source.type == Type::kSequence) {
      for (YamlNode& item : source.items) {
        if (item.type != Type::kMapping) {
          return error_at(item.offset, "`<<` takes mappings only");
        }
        MIRRORD_CHECK_STATUS(merge(node, known, item));
      }
      return {};
    }
    if (source.type != Type::kMapping) {
      return error_at(source.offset, "`<<` takes mappings only");
    }
    for (YamlNode::Member& member : source.members) {
      if (known.emplace(member.key, member.offset).second) {
        node.members.push_back(std::move(member));
      }
    }
    return {};
  }

  struct Anchored {
    YamlNode node;
    int depth = 0;
  };

  static int depth_of(const YamlNode& node) {
    int deepest = 0;
    for (const YamlNode& item : node.items) {
      deepest = std::max(deepest, 1 + depth_of(item));
    }
    for (const YamlNode::Member& member : node.members) {
      deepest = std::max(deepest, 1 + depth_of(member.value));
    }
    return deepest;
  }

  Status remember(std::string_view anchor, const YamlNode& node) {
    if (!anchor.empty()) {
      MIRRORD_CHECK_STATUS(count(node, node.offset));  // it is a copy too
      anchors_.insert_or_assign(std::string(anchor), Anchored{node, depth_of(node)});
    }
    return {};
  }

  std::string_view text_;
  std::string_view name_;
  Lines lines_;
  yaml_parser_t parser_{};
  std::map<std::string, Anchored, std::less<>> anchors_;
  std::size_t values_ = 0;
  std::size_t bytes_ = 0;
};

void append_utf8(std::string& out, std::uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
    return;
  }
  const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  constexpr unsigned char kLead[] = {0, 0xC0, 0xE0, 0xF0};
  out += static_cast<char>(kLead[more] | (code >> (6 * more)));
  for (int i = more - 1; i >= 0; --i) {
    out += static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3F));
  }
}

}  // namespace

const YamlNode* YamlNode::member(std::string_view key) const {
  const auto found = std::ranges::find(members, key, &Member::key);
  return found == members.end() ? nullptr : &found->value;
}

Result<std::string> to_utf8(std::string bytes, std::string_view name) {
  if (bytes.starts_with("\xEF\xBB\xBF")) {
    bytes.erase(0, 3);
    return bytes;
  }
  const bool is_little = bytes.starts_with("\xFF\xFE");
  if (!is_little && !bytes.starts_with("\xFE\xFF")) {
    return bytes;
  }
  const auto unit = [&](std::size_t at) {
    const auto first = static_cast<unsigned char>(bytes[at]);
    const auto second = static_cast<unsigned char>(bytes[at + 1]);
    return static_cast<std::uint32_t>(is_little ? first | second << 8 : first << 8 | second);
  };
  std::string text;
  text.reserve(bytes.size());
  std::size_t at = 2;
  for (; at + 1 < bytes.size(); at += 2) {
    std::uint32_t code = unit(at);
    if (code >= 0xD800 && code < 0xDC00 && at + 3 < bytes.size()) {
      const std::uint32_t low = unit(at + 2);
      if (low >= 0xDC00 && low < 0xE000) {
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        at += 2;
      }
    }
    if (code >= 0xD800 && code < 0xE000) {
      break;
    }
    append_utf8(text, code);
  }
  if (at < bytes.size()) {
    return fail(ErrorCode::kConfig,
                std::string(name) + ": not valid UTF-16 at byte " + std::to_string(at));
  }
  return text;
}

Result<std::vector<YamlNode>> parse_yaml(std::string_view text, std::string_view name) {
  return Reader(text, name).run();
}

}  // namespace mirrord::net
