// applets/config/text_file.h — reads small text files that the user names.
#pragma once

#include <cstddef>
#include <string>

#include "net/error.h"

namespace mirrord::config {

// The whole file, or standard input for "-". More than `limit` bytes are an error.
Result<std::string> read_text_file(const std::string& path, std::size_t limit);

}  // namespace mirrord::config
