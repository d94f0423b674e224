// applets/config/message.cpp — escapes and shortens what messages repeat.
#include "applets/config/message.h"

#include <algorithm>

namespace mirrord::config {
namespace {

constexpr std::size_t kLongest = 120;

bool is_within_character(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

// The code of an invisible character at the front, of which some turn the reading order; else 0.
unsigned invisible(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const bool is_nbsp = byte(0) == 0xC2 && byte(1) == 0xA0;
  if (is_nbsp)
    return 0xA0;
  const unsigned code = (byte(0) & 0xF0) == 0xE0
                            ? (byte(0) & 0xFU) << 12 | (byte(1) & 0x3FU) << 6 | (byte(2) & 0x3FU)
                            : 0;
  const bool is_hidden = (code >= 0x200B && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) ||
                         (code >= 0x2060 && code <= 0x206F) || code == 0xFEFF;
  return is_hidden ? code : 0;
}

std::string escaped(unsigned code) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out = "\\u";
  for (int shift = 12; shift >= 0; shift -= 4)
    out += kHex[(code >> shift) & 15];
  return out;
}

}  // namespace

std::string quotable(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (out.size() >= kLongest && !is_within_character(text[i]))
      return out + "…";
    if (byte < 0x20 || byte == 0x7F) {
      out += escaped(byte);
    } else if (const unsigned code = invisible(text.substr(i)); code != 0) {
      out += escaped(code);
      i += code == 0xA0 ? 1 : 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace mirrord::config
