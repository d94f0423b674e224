// hook/image.h — the built hook library as bytes inside the executable, with its SHA-256.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

extern "C" {
extern const std::byte mirrord_hook_begin[];
extern const std::byte mirrord_hook_end[];
extern const char mirrord_hook_sha256[];
}

namespace mirrord {

inline std::span<const std::byte> hook_image() {
  return {mirrord_hook_begin, mirrord_hook_end};
}

// Hexadecimal; a name for the extracted file that changes when its content does.
inline std::string_view hook_image_sha256() {
  return mirrord_hook_sha256;
}

}  // namespace mirrord
