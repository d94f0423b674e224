// applets/intproxy/stale.h — session directories whose intproxy was killed.
#pragma once

#include <string>

namespace mirrord::intproxy {

// Removes what dead sessions left beside `directory`. Sessions that live, or are being started, and
// anything that is no session stay as they are.
void remove_stale_sessions(const std::string& directory);

// Removes the files that sessions make in their directory, and the directory. False with errno.
bool remove_session_directory(const std::string& directory);

}  // namespace mirrord::intproxy
