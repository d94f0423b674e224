// applets/json_text.cpp — quoting of JSON strings, base64.
#include "applets/json_text.h"

#include <cstdint>

#include "proto/text.h"

namespace mirrord {
namespace {

void append_ascii(std::string& out, char c) {
  constexpr std::string_view kSpecial = "\"\\\n\r\t\b\f";
  constexpr std::string_view kLetters = "\"\\nrtbf";
  if (const std::size_t at = kSpecial.find(c); at != std::string_view::npos) {
    out += '\\';
    out += kLetters[at];
  } else if (static_cast<unsigned char>(c) < 0x20) {
    constexpr char kHex[] = "0123456789abcdef";
    out.append("\\u00");
    out += kHex[c >> 4];
    out += kHex[c & 15];
  } else {
    out += c;
  }
}

}  // namespace

std::string json_quoted(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const std::size_t length = proto::utf8_length(text);
    if (length == 0)
      out += "\xEF\xBF\xBD";
    else if (length == 1)
      append_ascii(out, text[0]);
    else
      out += text.substr(0, length);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out + "\"";
}

std::string json_list(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const std::string& text : texts)
    out.append(out.size() > 1 ? "," : "").append(json_quoted(text));
  return out + "]";
}

std::string json_indented(std::string_view json) {
  std::string out;
  std::size_t depth = 0;
  bool is_in_text = false;
  const auto new_line = [&] { out.append("\n").append(depth * 2, ' '); };
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (is_in_text) {
      out += c;
      if (c == '\\' && i + 1 < json.size())
        out += json[++i];
      is_in_text = c != '"';
      continue;
    }
    const bool opens = c == '{' || c == '[';
    const bool closes = c == '}' || c == ']';
    const bool was_opened = i > 0 && (json[i - 1] == '{' || json[i - 1] == '[');
    if (closes && depth > 0)
      --depth;
    if (closes ? !was_opened : was_opened)
      new_line();
    out += c;
    if (opens)
      ++depth;
    if (c == ',')
      new_line();
    else if (c == ':')
      out += ' ';
    is_in_text = c == '"';
  }
  return out;
}

std::string base64(std::string_view bytes) {
  constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      group <<= 8;
      if (i + j < bytes.size())
        group |= static_cast<unsigned char>(bytes[i + j]);
    }
    for (std::size_t j = 0; j < 4; ++j)
      out += j <= bytes.size() - i ? kAlphabet[(group >> (18 - 6 * j)) & 63] : '=';
  }
  return out;
}

}  // namespace mirrord
