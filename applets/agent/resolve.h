// applets/agent/resolve.h — opens paths inside a root directory that nothing in them can leave.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "net/fd.h"

namespace mirrord::agent {

// How far a call may go: kCached answers from the kernel's memory or fails with EAGAIN, so that it
// can run on the loop's thread; kBlocking may wait for a disk.
enum class Attempt { kCached, kBlocking };

// All functions here return a closed Fd and leave errno when they fail. O_CLOEXEC is implied.

// Opens `path` as if `root` were `/`: absolute links and `..` end at the root.
[[nodiscard]] Fd open_inside(int root, const char* path, int flags, mode_t mode = 0,
                             Attempt attempt = Attempt::kBlocking);

// The same for a path relative to the open directory `directory`, which lies inside `root`. An
// absolute path is taken from the root.
[[nodiscard]] Fd open_inside_at(int root, int directory, const char* path, int flags,
                                mode_t mode = 0, Attempt attempt = Attempt::kBlocking);

// A path split for calls that act on the last name itself (unlink, mkdir, rename): no link in that
// last name is followed. Trailing slashes stay with the name, where they mean "must be a directory".
struct Place {
  Fd parent;
  std::string name;  // "." when the path is the root itself
};
[[nodiscard]] Place open_parent(int root, const char* path, Attempt attempt = Attempt::kBlocking);
[[nodiscard]] Place open_parent_at(int root, int directory, const char* path,
                                   Attempt attempt = Attempt::kBlocking);

// The way without openat2(2) (before Linux 5.6): walks one name at a time. Used when the kernel
// refuses the other; here for tests.
[[nodiscard]] Fd open_inside_by_walking(int root, const char* path, int flags, mode_t mode);

// True when `fd` lies on a file system that lives in memory: calls on it never wait for a disk.
[[nodiscard]] bool is_on_memory(int fd);
// True when another process or machine serves the file system: opening and closing files waits for
// it even if everything else is in the kernel's memory.
[[nodiscard]] bool is_served_elsewhere(int fd);
// All of these bytes of the file are in the page cache. False where that cannot be told.
[[nodiscard]] bool is_in_memory(int fd, std::int64_t offset, std::uint64_t size);

}  // namespace mirrord::agent
