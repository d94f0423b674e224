// applets/config/message.h — texts of the user's file as they may stand in a message.
#pragma once

#include <string>
#include <string_view>

namespace mirrord::config {

// Without what would change the terminal or the reading order, and not longer than a line.
std::string quotable(std::string_view text);

}  // namespace mirrord::config
