// applets/private_directory.h — directories that only this user can change: of the hook's file and
// of sessions.
#pragma once

#include <string>

#include "net/error.h"

namespace mirrord {

// Makes DIRECTORY (its parents too) with mode 0700 if it is missing; an error if it belongs to
// someone else, is no directory, or others may write to it.
Status make_private_directory(const std::string& path);

// A new directory for one session, in $XDG_RUNTIME_DIR/mirrord or /tmp/mirrord-UID.
Result<std::string> make_session_directory();

// Where the hook's file goes: $XDG_CACHE_HOME/mirrord, ~/.cache/mirrord or /tmp/mirrord-UID: the
// first that can be used and whose path LD_PRELOAD can hold.
Result<std::string> hook_directory();

}  // namespace mirrord
