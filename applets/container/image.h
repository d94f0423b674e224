// applets/container/image.h — the empty image of the proxy's container: its only program is mounted into it.
#pragma once

#include <string>
#include <string_view>

namespace mirrord::container {

// With a registry's name that no runtime looks for elsewhere.
inline constexpr char kEmptyImage[] = "localhost/mirrord-empty:1";

// Of this executable, in the words of image specifications.
constexpr std::string_view architecture() {
#if defined(__aarch64__)
  return "arm64";
#else
  return "amd64";
#endif
}

// A `docker save` file (image specification 1.2) of that image, for `docker load` and its like.
std::string empty_image_archive();

}  // namespace mirrord::container
