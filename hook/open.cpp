// hook/open.cpp — the hooks of the open family.
#include <stdarg.h>

#include "hook/original.h"
#include "hook/remote_file.h"

using namespace mirrord::hook;

namespace {

bool needs_mode(int flags) {
  return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

// Opening for any of these changes the file or its folder.
bool is_write(int flags) {
  return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC | O_APPEND)) != 0;
}

// The descriptor that a name such as /dev/stdin or /proc/self/fd/5 stands for, or -1.
int named_descriptor(const char* path) {
  if (starts_with(path, "/proc/self/fd/")) {
    path += 14;
  } else if (starts_with(path, "/dev/fd/")) {
    path += 8;
  } else {
    return strcmp(path, "/dev/stdin") == 0    ? 0
           : strcmp(path, "/dev/stdout") == 0 ? 1
           : strcmp(path, "/dev/stderr") == 0 ? 2
                                              : -1;
  }
  int fd = 0;
  for (; *path >= '0' && *path <= '9' && fd < kMaxDescriptors; ++path) {
    fd = fd * 10 + (*path - '0');
  }
  return *path == '\0' ? fd : -1;
}

// A remote file under its descriptor's name: the name leads to a placeholder or to one end of a
// stream, so the descriptor is copied.
int copy_named(const char* path, int flags) {
  if (fd_table_end.load(std::memory_order_relaxed) == 0 || !is_pointer(path) ||
      (!starts_with(path, "/dev/") && !starts_with(path, "/proc/self/fd/")) || !is_active()) {
    return -1;
  }
  int fd = named_descriptor(path);
  RecordRef record(fd, RecordType::kFile);
  if (!record || (record->file.kind == mirrord::local::FileKind::kCached &&
                  record->file.is_whole.load(std::memory_order_acquire))) {
    return -1;  // a new position in the whole file: natively
  }
  SavedErrno saved;
  return hk_fcntl(fd, (flags & O_CLOEXEC) != 0 ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
}

// A number that was closed behind the hook's back may come back as a local file.
int forget_old(int fd) {
  if (MIRRORD_UNLIKELY(has_record(fd))) {
    SavedErrno saved;
    if (Record* old = detach(fd)) {
      release_record(old);
    }
  }
  return fd;
}

int open_at(int directory, const char* path, int flags, mode_t mode) {
  Target target(directory, path, is_write(flags));
  if (MIRRORD_LIKELY(target.is_local())) {
    int copy = copy_named(path, flags);
    return copy >= 0 ? copy : forget_old(ORIGINAL(openat)(directory, target.path(), flags, mode));
  }
  return remote_open(target, flags, mode);
}

int open_path(const char* path, int flags, mode_t mode) {
  Target target(path, is_write(flags));
  if (MIRRORD_LIKELY(target.is_local())) {
    int copy = copy_named(path, flags);
    return copy >= 0 ? copy : forget_old(ORIGINAL(open)(target.path(), flags, mode));
  }
  return remote_open(target, flags, mode);
}

}  // namespace

extern "C" {

int hk_open(const char* path, int flags, ...) {
  mode_t mode = 0;
  if (needs_mode(flags)) {
    va_list arguments;
    va_start(arguments, flags);
    mode = va_arg(arguments, mode_t);
    va_end(arguments);
  }
  return open_path(path, flags, mode);
}

int hk_openat(int directory, const char* path, int flags, ...) {
  mode_t mode = 0;
  if (needs_mode(flags)) {
    va_list arguments;
    va_start(arguments, flags);
    mode = va_arg(arguments, mode_t);
    va_end(arguments);
  }
  return open_at(directory, path, flags, mode);
}

int hk___open_2(const char* path, int flags) {
  return open_path(path, flags, 0);
}

int hk___openat_2(int directory, const char* path, int flags) {
  return open_at(directory, path, flags, 0);
}

int hk_creat(const char* path, mode_t mode) {
  return open_path(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

}  // extern "C"
