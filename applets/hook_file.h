// applets/hook_file.h — the hook as a file that LD_PRELOAD can name.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "net/error.h"

namespace mirrord {

// The path of the hook: MIRRORD_LAYER_FILE, or the embedded library, written out on first use
// under a name that changes with its content.
Result<std::string> provide_hook();

// Writes `image` to DIRECTORY/NAME unless a file of that name, size and owner is there.
Result<std::string> extract_file(std::span<const std::byte> image, const std::string& directory,
                                 std::string_view name);

}  // namespace mirrord
