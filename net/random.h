// net/random.h — random texts from the kernel, for names and keys that nobody shall guess.
#pragma once

#include <cstddef>
#include <string>

namespace mirrord::net {

// `bytes` random bytes (at most 256, which getrandom(2) always gives whole) in hexadecimal digits.
[[nodiscard]] std::string random_hex(std::size_t bytes);

}  // namespace mirrord::net
