// hook/attributes.cpp — the hooks of extended attributes and of watches, which the protocol does not
// have.
#include "hook/original.h"
#include "hook/remote_file.h"

using namespace mirrord::hook;

namespace {

bool is_remote_file(int fd) {
  return has_record(fd) && is_active() && RecordRef(fd, RecordType::kFile);
}

}  // namespace

extern "C" {

ssize_t hk_getxattr(const char* path, const char* name, void* value, size_t size) {
  Target target(path, false);
  return target.is_local() ? ORIGINAL(getxattr)(target.path(), name, value, size)
                           : fail_with(ENOTSUP);
}

ssize_t hk_lgetxattr(const char* path, const char* name, void* value, size_t size) {
  Target target(path, false);
  return target.is_local() ? ORIGINAL(lgetxattr)(target.path(), name, value, size)
                           : fail_with(ENOTSUP);
}

ssize_t hk_fgetxattr(int fd, const char* name, void* value, size_t size) {
  return is_remote_file(fd) ? fail_with(ENOTSUP) : ORIGINAL(fgetxattr)(fd, name, value, size);
}

int hk_setxattr(const char* path, const char* name, const void* value, size_t size, int flags) {
  Target target(path, true);
  return target.is_local() ? ORIGINAL(setxattr)(target.path(), name, value, size, flags)
                           : fail_with(ENOTSUP);
}

int hk_lsetxattr(const char* path, const char* name, const void* value, size_t size, int flags) {
  Target target(path, true);
  return target.is_local() ? ORIGINAL(lsetxattr)(target.path(), name, value, size, flags)
                           : fail_with(ENOTSUP);
}

int hk_fsetxattr(int fd, const char* name, const void* value, size_t size, int flags) {
  return is_remote_file(fd) ? fail_with(ENOTSUP)
                            : ORIGINAL(fsetxattr)(fd, name, value, size, flags);
}

ssize_t hk_listxattr(const char* path, char* list, size_t size) {
  Target target(path, false);
  return target.is_local() ? ORIGINAL(listxattr)(target.path(), list, size) : fail_with(ENOTSUP);
}

ssize_t hk_llistxattr(const char* path, char* list, size_t size) {
  Target target(path, false);
  return target.is_local() ? ORIGINAL(llistxattr)(target.path(), list, size) : fail_with(ENOTSUP);
}

ssize_t hk_flistxattr(int fd, char* list, size_t size) {
  return is_remote_file(fd) ? fail_with(ENOTSUP) : ORIGINAL(flistxattr)(fd, list, size);
}

int hk_removexattr(const char* path, const char* name) {
  Target target(path, true);
  return target.is_local() ? ORIGINAL(removexattr)(target.path(), name) : fail_with(ENOTSUP);
}

int hk_lremovexattr(const char* path, const char* name) {
  Target target(path, true);
  return target.is_local() ? ORIGINAL(lremovexattr)(target.path(), name) : fail_with(ENOTSUP);
}

int hk_fremovexattr(int fd, const char* name) {
  return is_remote_file(fd) ? fail_with(ENOTSUP) : ORIGINAL(fremovexattr)(fd, name);
}

// Changes of remote paths cannot be watched over the protocol. Programs that follow files, such as
// tail, fall back to looking again and again when the kernel has no room for watches.
int hk_inotify_add_watch(int fd, const char* path, uint32_t mask) {
  Target target(path, false);
  return target.is_local() ? ORIGINAL(inotify_add_watch)(fd, target.path(), mask)
                           : fail_with(target.early_error() != 0 ? target.early_error() : ENOSPC);
}

}  // extern "C"
