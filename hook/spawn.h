// hook/spawn.h — posix_spawn whose file actions touch remote files.
#pragma once

#include "hook/libc.h"

namespace mirrord::hook {

// Whether the C library's own posix_spawn, whose child makes system calls only, would miss a remote
// file or folder that these actions name. `actions` is a posix_spawn_file_actions_t or null.
bool names_remote_files(const void* actions);

// posix_spawn (with `search`: posix_spawnp) by fork, the actions through our own functions and exec.
// Returns 0 or an errno.
int spawn_by_fork(pid_t* child, const char* file, bool search, const void* actions,
                  const void* attributes, char* const* arguments, char* const* variables);

}  // namespace mirrord::hook
