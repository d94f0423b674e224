// hook/working_directory.h — a working directory that lies in the target. The process's real one
// stays where it was; relative paths are joined to this one first.
#pragma once

#include "hook/libc.h"

namespace mirrord::hook {

inline constexpr char kWorkingDirectoryVariable[] = "MIRRORD_WORKING_DIRECTORY";

extern std::atomic<bool> working_directory_is_remote;

inline bool has_remote_working_directory() {
  return working_directory_is_remote.load(std::memory_order_acquire);
}

// Copies it into a path buffer; its length, or 0 when the working directory is local.
size_t copy_working_directory(char* buffer);
// At start, from the image before this one; the variable is removed.
void take_inherited_working_directory();

// Takes "." and ".." and doubled slashes out of an absolute path, in place.
void normalise_path(char* path);

// Writes "directory/path" into a path buffer; its length, or 0 when it is too long.
size_t join_path(char* buffer, const char* directory, const char* path);

}  // namespace mirrord::hook
