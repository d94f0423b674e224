// net/random.cpp — getrandom(2) in hexadecimal digits.
#include "net/random.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace mirrord::net {

std::string random_hex(std::size_t bytes) {
  std::array<unsigned char, 256> random{};
  bytes = std::min(bytes, random.size());
  while (::getrandom(random.data(), bytes, 0) < 0 && errno == EINTR) {
  }
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < bytes; ++i) {
    text += kDigits[random[i] >> 4];
    text += kDigits[random[i] & 15];
  }
  return text;
}

}  // namespace mirrord::net
