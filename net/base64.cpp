// net/base64.cpp — Base64 by mbedTLS.
#include "net/base64.h"

#include <mbedtls/base64.h>

namespace mirrord::net {

std::string to_base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  std::size_t length = 0;
  mbedtls_base64_encode(reinterpret_cast<unsigned char*>(text.data()), text.size(), &length,
                        reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  text.resize(length);
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  std::string compact(text);
  std::erase_if(compact, [](char c) { return c == '\n' || c == '\r' || c == ' ' || c == '\t'; });
  std::string bytes(3 * (compact.size() / 4 + 1), '\0');
  std::size_t length = 0;
  if (mbedtls_base64_decode(reinterpret_cast<unsigned char*>(bytes.data()), bytes.size(), &length,
                            reinterpret_cast<const unsigned char*>(compact.data()),
                            compact.size()) != 0) {
    return std::nullopt;
  }
  bytes.resize(length);
  return bytes;
}

}  // namespace mirrord::net
