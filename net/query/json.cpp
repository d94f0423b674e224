// net/query/json.cpp — parses and writes JSON (RFC 8259).
#include "net/query/json.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <unordered_map>

namespace mirrord::net {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<JsonValue> run() {
    JsonValue value;
    skip_blanks();
    MIRRORD_CHECK_STATUS(parse_value(value, 0));
    skip_blanks();
    if (at_ != text_.size())
      return error("something follows the value");
    return value;
  }

 private:
  std::unexpected<Error> error(std::string_view why) const {
    return fail(ErrorCode::kPeer,
                "invalid JSON at byte " + std::to_string(at_) + ": " + std::string(why));
  }
  void skip_blanks() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word))
      return false;
    at_ += word.size();
    return true;
  }

  Status parse_value(JsonValue& out, int depth);
  Status parse_array(JsonValue::Array& out, int depth);
  Status parse_object(JsonValue::Object& out, int depth);
  Status parse_number(JsonNumber& out);
  Status parse_string(std::string& out);
  Status parse_escape(std::string& out);
  std::optional<char32_t> four_digits();

  std::string_view text_;
  std::size_t at_ = 0;
};

Status Parser::parse_value(JsonValue& out, int depth) {
  if (depth >= JsonValue::kDeepest)
    return error("nested too deeply");
  switch (peek()) {
    case '{':
      return parse_object(out.data.emplace<JsonValue::Object>(), depth);
    case '[':
      return parse_array(out.data.emplace<JsonValue::Array>(), depth);
    case '"':
      return parse_string(out.data.emplace<std::string>());
    default:
      break;
  }
  if (take("null"))
    out.data = JsonValue::Null{};
  else if (take("true"))
    out.data = true;
  else if (take("false"))
    out.data = false;
  else
    return parse_number(out.data.emplace<JsonNumber>());
  return {};
}

Status Parser::parse_array(JsonValue::Array& out, int depth) {
  ++at_;
  skip_blanks();
  if (take("]"))
    return {};
  while (true) {
    skip_blanks();
    MIRRORD_CHECK_STATUS(parse_value(out.emplace_back(), depth + 1));
    skip_blanks();
    if (take("]"))
      return {};
    if (!take(","))
      return error("expected `,` or `]`");
  }
}

// Of a name that comes back the last value counts.
Status Parser::parse_object(JsonValue::Object& out, int depth) {
  std::unordered_map<std::string, std::size_t> places;
  ++at_;
  skip_blanks();
  if (take("}"))
    return {};
  while (true) {
    skip_blanks();
    std::string name;
    if (peek() != '"')
      return error("expected a name in quotes");
    MIRRORD_CHECK_STATUS(parse_string(name));
    skip_blanks();
    if (!take(":"))
      return error("expected `:`");
    skip_blanks();
    JsonValue value;
    MIRRORD_CHECK_STATUS(parse_value(value, depth + 1));
    const auto [place, is_new] = places.emplace(name, out.size());
    if (is_new)
      out.emplace_back(std::move(name), std::move(value));
    else
      out[place->second].second = std::move(value);
    skip_blanks();
    if (take("}"))
      return {};
    if (!take(","))
      return error("expected `,` or `}`");
  }
}

Status Parser::parse_number(JsonNumber& out) {
  const auto digits = [this] {
    const std::size_t begin = at_;
    while (peek() >= '0' && peek() <= '9')
      ++at_;
    return at_ - begin;
  };
  const std::size_t begin = at_;
  const bool is_negative = take("-");
  const std::size_t first = at_;
  const std::size_t whole = digits();
  if (whole == 0 || (whole > 1 && text_[first] == '0'))
    return error("expected a value");
  const std::string_view magnitude = text_.substr(first, whole);
  bool is_integer = true;
  if (take(".")) {
    is_integer = false;
    if (digits() == 0)
      return error("expected a digit");
  }
  if (take("e") || take("E")) {
    is_integer = false;
    if (!take("+"))
      take("-");
    if (digits() == 0)
      return error("expected a digit");
  }
  std::uint64_t integer = 0;
  const auto parsed =
      std::from_chars(magnitude.data(), magnitude.data() + magnitude.size(), integer);
  if (is_integer && parsed.ec == std::errc() &&
      (!is_negative || (integer != 0 && integer <= std::uint64_t{1} << 63))) {
    out = JsonNumber::integer(integer, is_negative);
    return {};
  }
  double value = 0;
  if (std::from_chars(text_.data() + begin, text_.data() + at_, value).ec != std::errc() ||
      !std::isfinite(value))
    return error("a number out of range");
  out = value;
  return {};
}

std::optional<char32_t> Parser::four_digits() {
  std::uint32_t code = 0;
  const std::string_view digits = text_.substr(at_, 4);
  const auto [end, result] =
      std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
  if (digits.size() != 4 || result != std::errc() || end != digits.data() + 4)
    return std::nullopt;
  at_ += 4;
  return code;
}

Status Parser::parse_escape(std::string& out) {
  constexpr std::pair<char, char> kLetters[] = {{'"', '"'},  {'\\', '\\'}, {'/', '/'},
                                                {'b', '\b'}, {'f', '\f'},  {'n', '\n'},
                                                {'r', '\r'}, {'t', '\t'}};
  const char letter = peek();
  ++at_;
  for (const auto& [name, value] : kLetters) {
    if (letter == name) {
      out += value;
      return {};
    }
  }
  auto code = letter == 'u' ? four_digits() : std::nullopt;
  if (code && *code >= 0xD800 && *code < 0xDC00) {
    const auto low = take("\\u") ? four_digits() : std::nullopt;
    code = low && *low >= 0xDC00 && *low < 0xE000
               ? std::optional(0x10000 + ((*code - 0xD800) << 10) + (*low - 0xDC00))
               : std::nullopt;
  }
  if (!code || (*code >= 0xDC00 && *code < 0xE000))
    return error("an invalid escape");
  append_utf8(out, *code);
  return {};
}

Status Parser::parse_string(std::string& out) {
  ++at_;
  while (true) {
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
           static_cast<unsigned char>(text_[at_]) >= 0x20) {
      bool is_valid = true;
      next_utf8(text_, at_, is_valid);
      if (!is_valid)
        return error("a string that is not UTF-8");
    }
    out += text_.substr(begin, at_ - begin);
    if (take("\""))
      return {};
    if (!take("\\"))
      return error(at_ == text_.size() ? "a string without its end" : "a control character");
    MIRRORD_CHECK_STATUS(parse_escape(out));
  }
}

void dump_string(std::string& out, std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  constexpr std::string_view kEscaped = "\"\\\b\f\n\r\t";
  constexpr std::string_view kLetters = "\"\\bfnrt";
  out += '"';
  for (const char c : text) {
    if (const std::size_t at = kEscaped.find(c); at != std::string_view::npos) {
      out += '\\';
      out += kLetters[at];
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += "\\u00";
      out += kDigits[static_cast<unsigned char>(c) >> 4];
      out += kDigits[c & 0xF];
    } else {
      out += c;
    }
  }
  out += '"';
}

void dump_value(std::string& out, const JsonValue& value) {
  if (value.is_null()) {
    out += "null";
  } else if (const auto* boolean = value.as<bool>()) {
    out += *boolean ? "true" : "false";
  } else if (const auto* number = value.as<JsonNumber>()) {
    out += number->text();
  } else if (const auto* text = value.as<std::string>()) {
    dump_string(out, *text);
  } else if (const auto* array = value.as<JsonValue::Array>()) {
    out += '[';
    for (const JsonValue& item : *array) {
      if (out.back() != '[')
        out += ',';
      dump_value(out, item);
    }
    out += ']';
  } else if (const auto* object = value.as<JsonValue::Object>()) {
    out += '{';
    bool is_first = true;
    for (const auto& [name, item] : *object) {
      out += is_first ? "" : ",";
      is_first = false;
      dump_string(out, name);
      out += ':';
      dump_value(out, item);
    }
    out += '}';
  }
}

}  // namespace

JsonNumber JsonNumber::integer(std::uint64_t magnitude, bool is_negative) {
  JsonNumber number(is_negative ? -static_cast<double>(magnitude) : static_cast<double>(magnitude));
  number.magnitude_ = magnitude;
  number.is_integer_ = true;
  number.is_negative_ = is_negative;
  return number;
}

JsonNumber JsonNumber::integer(std::int64_t value) {
  const auto bits = static_cast<std::uint64_t>(value);
  return integer(value < 0 ? 0 - bits : bits, value < 0);
}

bool operator==(const JsonNumber& one, const JsonNumber& other) {
  if (one.is_integer_ && other.is_integer_)
    return one.magnitude_ == other.magnitude_ && one.is_negative_ == other.is_negative_;
  return one.value_ == other.value_;
}

bool operator<(const JsonNumber& one, const JsonNumber& other) {
  if (!one.is_integer_ || !other.is_integer_ || one.is_negative_ != other.is_negative_)
    return one.value_ < other.value_;
  return one.is_negative_ ? one.magnitude_ > other.magnitude_ : one.magnitude_ < other.magnitude_;
}

std::string JsonNumber::text() const {
  if (is_integer_)
    return (is_negative_ ? "-" : "") + std::to_string(magnitude_);
  std::array<char, 40> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), std::abs(value_),
                                 std::chars_format::scientific)
                       .ptr;
  const std::string_view scientific(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
  const std::size_t e = scientific.find('e');
  if (e == std::string_view::npos)
    return "null";  // not finite
  std::string digits(1, scientific[0]);
  if (e > 2)
    digits += scientific.substr(2, e - 2);
  const int exponent = std::atoi(scientific.data() + e + 1);
  const int point = exponent + 1;  // digits before the point
  const auto count = static_cast<int>(digits.size());
  const std::string sign = std::signbit(value_) ? "-" : "";
  if (digits == "0")
    return sign + "0.0";
  if (count <= point && point <= 16)
    return sign + digits + std::string(static_cast<std::size_t>(point - count), '0') + ".0";
  if (point > 0 && point <= 16)
    return sign + digits.insert(static_cast<std::size_t>(point), ".");
  if (point > -5 && point <= 0)
    return sign + "0." + std::string(static_cast<std::size_t>(-point), '0') + digits;
  if (count > 1)
    digits.insert(1, ".");
  return sign + digits + "e" + std::to_string(exponent);
}

Result<JsonValue> JsonValue::parse(std::string_view text) {
  return Parser(text).run();
}

const JsonValue* JsonValue::member(std::string_view name) const {
  const auto* object = as<Object>();
  if (object == nullptr)
    return nullptr;
  const auto found = std::ranges::find(*object, name, &Member::first);
  return found == object->end() ? nullptr : &found->second;
}

std::string_view JsonValue::type_name() const {
  constexpr std::string_view kNames[] = {"null", "boolean", "number", "string", "array", "object"};
  return kNames[data.index()];
}

std::string JsonValue::dump() const {
  std::string out;
  dump_value(out, *this);
  return out;
}

bool operator==(const JsonValue& one, const JsonValue& other) {
  if (one.data.index() != other.data.index())
    return false;
  const auto* object = one.as<JsonValue::Object>();
  if (object == nullptr)
    return one.data == other.data;
  const auto& second = std::get<JsonValue::Object>(other.data);
  if (object->size() != second.size())
    return false;
  std::unordered_map<std::string_view, const JsonValue*> members;
  for (const auto& [name, value] : second)
    members.emplace(name, &value);
  return std::ranges::all_of(*object, [&](const JsonValue::Member& member) {
    const auto found = members.find(member.first);
    return found != members.end() && *found->second == member.second;
  });
}

void append_utf8(std::string& text, char32_t code) {
  const auto put = [&text](char32_t byte) { text += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6));
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | (code >> 18));
    put(0x80 | ((code >> 12) & 0x3F));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

char32_t next_utf8(std::string_view text, std::size_t& at, bool& is_valid) {
  const auto byte = [&](std::size_t i) -> char32_t {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U;
  };
  constexpr char32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
  const char32_t first = byte(0);
  const std::size_t more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC2 ? 1 : 0;
  char32_t code = more == 0 ? first : first & (0x3FU >> more);
  bool is_good = more != 0 || first < 0x80;
  for (std::size_t i = 1; i <= more; ++i) {
    is_good = is_good && (byte(i) & 0xC0) == 0x80;
    code = (code << 6) | (byte(i) & 0x3F);
  }
  is_good = is_good && code >= kLeast[more] && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
  if (!is_good) {
    is_valid = false;
    ++at;
    return 0xFFFD;
  }
  at += more + 1;
  return code;
}

}  // namespace mirrord::net
