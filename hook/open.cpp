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

int open_at(int directory, const char* path, int flags, mode_t mode) {
  Target target(directory, path, is_write(flags));
  if (MIRRORD_LIKELY(target.is_local())) {
    return ORIGINAL(openat)(directory, target.path(), flags, mode);
  }
  return remote_open(target, flags, mode);
}

int open_path(const char* path, int flags, mode_t mode) {
  Target target(path, is_write(flags));
  if (MIRRORD_LIKELY(target.is_local())) {
    return ORIGINAL(open)(target.path(), flags, mode);
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
