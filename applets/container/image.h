// applets/container/image.h — the empty image of the proxy's container: its only program is mounted into it.
#pragma once

#include <string>

namespace mirrord::container {

// With a registry's name that no runtime looks for elsewhere.
inline constexpr char kEmptyImage[] = "localhost/mirrord-empty:1";

// A `docker save` file (image specification 1.2) of that image, for `docker load` and its like.
std::string empty_image_archive();

}  // namespace mirrord::container
