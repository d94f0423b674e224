// hook/paths.cpp — the hooks that change names, permissions and times of files by path, and read
// links.
#include <sys/time.h>
#include <utime.h>

#include "hook/ipc.h"
#include "hook/original.h"
#include "hook/remote_file.h"

using namespace mirrord::hook;
using mirrord::local::MessageType;
using mirrord::local::PathRequest;

namespace {

int make_directory(const Target& target, mode_t mode) {
  PathRequest request = {};
  request.mode = apply_umask(mode);
  return ask_path(MessageType::kMakeDir, target, request);
}

int unlink_target(const Target& target, int flags) {
  PathRequest request = {};
  request.flags = static_cast<uint32_t>(flags);
  return ask_path(MessageType::kUnlink, target, request);
}

// Both paths lie on the same side, or the call fails as between two file systems.
int rename_targets(const Target& from, const Target& to, unsigned flags) {
  if (from.kind() == Target::kNotFound || to.kind() == Target::kNotFound) {
    return fail_with(ENOENT);
  }
  if (from.is_local() != to.is_local()) {
    return fail_with(EXDEV);
  }
  if (flags != 0) {
    return fail_with(EINVAL);
  }
  if (from.early_error() != 0 || to.early_error() != 0) {
    return fail_with(ENAMETOOLONG);
  }
  PathRequest request = {};
  request.directory = from.directory();
  iovec paths[2] = {{const_cast<char*>(from.path()), from.length()},
                    {const_cast<char*>(to.path()), to.length()}};
  PathBuffer old_path;
  PathBuffer new_path;
  if (from.directory() != to.directory()) {
    // The request names one folder only: name both in full.
    request.directory = 0;
    paths[0] = {old_path.data(), from.copy_absolute(old_path.data())};
    paths[1] = {new_path.data(), to.copy_absolute(new_path.data())};
    if (paths[0].iov_len == 0 || paths[1].iov_len == 0) {
      return fail_with(ENAMETOOLONG);
    }
  }
  request.first_length = static_cast<uint32_t>(paths[0].iov_len);
  Answer answer;
  return result_of(
      call({MessageType::kRename, &request, sizeof request, paths, 2, -1}, answer, EIO));
}

int change_mode(const Target& target, mode_t mode, int flags) {
  PathRequest request = {};
  request.mode = mode & 07777;
  request.flags = static_cast<uint32_t>(flags);
  return ask_path(MessageType::kSetModePath, target, request);
}

int change_owner(const Target& target, uid_t owner, gid_t group, int flags) {
  PathRequest request = {};
  request.owner = owner;
  request.group = group;
  request.flags = static_cast<uint32_t>(flags);
  return ask_path(MessageType::kSetOwnerPath, target, request);
}

int change_times(const Target& target, const struct timespec times[2], int flags) {
  PathRequest request = {};
  request.flags = static_cast<uint32_t>(flags);
  if (times != nullptr) {
    request.has_times = 1;
    for (int i = 0; i < 2; ++i) {
      request.times[2 * i] = times[i].tv_sec;
      request.times[2 * i + 1] = times[i].tv_nsec;
    }
  }
  return ask_path(MessageType::kSetTimesPath, target, request);
}

int change_times_us(const Target& target, const struct timeval times[2], int flags) {
  if (times == nullptr) {
    return change_times(target, nullptr, flags);
  }
  struct timespec exact[2];
  for (int i = 0; i < 2; ++i) {
    exact[i] = {times[i].tv_sec, times[i].tv_usec * 1000};
  }
  return change_times(target, exact, flags);
}

mirrord::local::AttributeRequest times_request(const FileRecord& file,
                                               const struct timespec times[2]) {
  mirrord::local::AttributeRequest request = {};
  request.handle = file.handle;
  if (times != nullptr) {
    request.has_times = 1;
    for (int i = 0; i < 2; ++i) {
      request.times[2 * i] = times[i].tv_sec;
      request.times[2 * i + 1] = times[i].tv_nsec;
    }
  }
  return request;
}

ssize_t read_link(const Target& target, char* data, size_t size) {
  if (int error = target.early_error()) {
    return fail_with(error);
  }
  if (size == 0) {
    return fail_with(EINVAL);
  }
  PathRequest request = {};
  request.directory = target.directory();
  request.first_length = static_cast<uint32_t>(target.length());
  iovec path = {const_cast<char*>(target.path()), target.length()};
  iovec text = {data, size};
  Answer answer = {nullptr, 0, &text, 1, 0, -1, false};
  int error = call({MessageType::kReadLink, &request, sizeof request, &path, 1, -1}, answer, EIO);
  return error == 0 ? static_cast<ssize_t>(least(answer.data_size, size)) : fail_with(error);
}

// Links and special files cannot be made through the protocol.
int refuse(const Target& target) {
  return fail_with(target.kind() == Target::kNotFound ? ENOENT : EOPNOTSUPP);
}

}  // namespace

extern "C" {

int hk_mkdir(const char* path, mode_t mode) {
  Target target(path, true);
  return target.is_local() ? ORIGINAL(mkdir)(target.path(), mode) : make_directory(target, mode);
}

int hk_mkdirat(int directory, const char* path, mode_t mode) {
  Target target(directory, path, true);
  return target.is_local() ? ORIGINAL(mkdirat)(directory, target.path(), mode)
                           : make_directory(target, mode);
}

int hk_rmdir(const char* path) {
  Target target(path, true);
  return target.is_local() ? ORIGINAL(rmdir)(target.path()) : unlink_target(target, AT_REMOVEDIR);
}

int hk_unlink(const char* path) {
  Target target(path, true);
  return target.is_local() ? ORIGINAL(unlink)(target.path()) : unlink_target(target, 0);
}

int hk_unlinkat(int directory, const char* path, int flags) {
  Target target(directory, path, true);
  return target.is_local() ? ORIGINAL(unlinkat)(directory, target.path(), flags)
                           : unlink_target(target, flags);
}

int hk_remove(const char* path) {
  Target target(path, true);
  if (target.is_local()) {
    return ORIGINAL(remove)(target.path());
  }
  int result = unlink_target(target, 0);
  return result != 0 && (errno == EISDIR || errno == EPERM) ? unlink_target(target, AT_REMOVEDIR)
                                                            : result;
}

int hk_rename(const char* from, const char* to) {
  Target old_target(from, true);
  Target new_target(to, true);
  return old_target.is_local() && new_target.is_local()
             ? ORIGINAL(rename)(old_target.path(), new_target.path())
             : rename_targets(old_target, new_target, 0);
}

int hk_renameat(int from_directory, const char* from, int to_directory, const char* to) {
  Target old_target(from_directory, from, true);
  Target new_target(to_directory, to, true);
  return old_target.is_local() && new_target.is_local()
             ? ORIGINAL(renameat)(from_directory, old_target.path(), to_directory,
                                  new_target.path())
             : rename_targets(old_target, new_target, 0);
}

int hk_renameat2(int from_directory, const char* from, int to_directory, const char* to,
                 unsigned flags) {
  Target old_target(from_directory, from, true);
  Target new_target(to_directory, to, true);
  if (!old_target.is_local() || !new_target.is_local()) {
    return rename_targets(old_target, new_target, flags);
  }
  return static_cast<int>(to_errno(raw(SYS_renameat2, from_directory, old_target.path(),
                                       to_directory, new_target.path(), flags)));
}

int hk_link(const char* from, const char* to) {
  Target old_target(from, true);
  Target new_target(to, true);
  return old_target.is_local() && new_target.is_local()
             ? ORIGINAL(link)(old_target.path(), new_target.path())
             : refuse(old_target.is_local() ? new_target : old_target);
}

int hk_linkat(int from_directory, const char* from, int to_directory, const char* to, int flags) {
  Target old_target(from_directory, from, true, (flags & AT_EMPTY_PATH) != 0);
  Target new_target(to_directory, to, true);
  return old_target.is_local() && new_target.is_local()
             ? ORIGINAL(linkat)(from_directory, old_target.path(), to_directory, new_target.path(),
                                flags)
             : refuse(old_target.is_local() ? new_target : old_target);
}

int hk_symlink(const char* text, const char* path) {
  Target target(path, true);
  return target.is_local() ? ORIGINAL(symlink)(text, target.path()) : refuse(target);
}

int hk_symlinkat(const char* text, int directory, const char* path) {
  Target target(directory, path, true);
  return target.is_local() ? ORIGINAL(symlinkat)(text, directory, target.path()) : refuse(target);
}

int hk_mknod(const char* path, mode_t mode, dev_t device) {
  Target target(path, true);
  return target.is_local() ? ORIGINAL(mknod)(target.path(), mode, device) : refuse(target);
}

int hk_mknodat(int directory, const char* path, mode_t mode, dev_t device) {
  Target target(directory, path, true);
  return target.is_local() ? ORIGINAL(mknodat)(directory, target.path(), mode, device)
                           : refuse(target);
}

int hk_mkfifo(const char* path, mode_t mode) {
  Target target(path, true);
  return target.is_local() ? ORIGINAL(mkfifo)(target.path(), mode) : refuse(target);
}

int hk_mkfifoat(int directory, const char* path, mode_t mode) {
  Target target(directory, path, true);
  return target.is_local() ? ORIGINAL(mkfifoat)(directory, target.path(), mode) : refuse(target);
}

int hk_truncate(const char* path, off_t length) {
  Target target(path, true);
  if (target.is_local()) {
    return ORIGINAL(truncate)(target.path(), length);
  }
  if (length < 0) {
    return fail_with(EINVAL);
  }
  PathRequest request = {};
  request.length = static_cast<uint64_t>(length);
  return ask_path(MessageType::kTruncatePath, target, request);
}

int hk_chmod(const char* path, mode_t mode) {
  Target target(path, true);
  return target.is_local() ? ORIGINAL(chmod)(target.path(), mode) : change_mode(target, mode, 0);
}

int hk_lchmod(const char* path, mode_t mode) {
  Target target(path, true);
  return target.is_local() ? ORIGINAL(lchmod)(target.path(), mode)
                           : change_mode(target, mode, AT_SYMLINK_NOFOLLOW);
}

int hk_fchmodat(int directory, const char* path, mode_t mode, int flags) {
  Target target(directory, path, true);
  return target.is_local() ? ORIGINAL(fchmodat)(directory, target.path(), mode, flags)
                           : change_mode(target, mode, flags);
}

int hk_fchmod(int fd, mode_t mode) {
  REMOTE_FILE_OR(fd, ORIGINAL(fchmod)(fd, mode))
  mirrord::local::AttributeRequest request = {};
  request.handle = record->file.handle;
  request.mode = mode & 07777;
  return result_of(ask(MessageType::kSetMode, request));
}

int hk_chown(const char* path, uid_t owner, gid_t group) {
  Target target(path, true);
  return target.is_local() ? ORIGINAL(chown)(target.path(), owner, group)
                           : change_owner(target, owner, group, 0);
}

int hk_lchown(const char* path, uid_t owner, gid_t group) {
  Target target(path, true);
  return target.is_local() ? ORIGINAL(lchown)(target.path(), owner, group)
                           : change_owner(target, owner, group, AT_SYMLINK_NOFOLLOW);
}

int hk_fchownat(int directory, const char* path, uid_t owner, gid_t group, int flags) {
  Target target(directory, path, true);
  return target.is_local() ? ORIGINAL(fchownat)(directory, target.path(), owner, group, flags)
                           : change_owner(target, owner, group, flags);
}

int hk_fchown(int fd, uid_t owner, gid_t group) {
  REMOTE_FILE_OR(fd, ORIGINAL(fchown)(fd, owner, group))
  mirrord::local::AttributeRequest request = {};
  request.handle = record->file.handle;
  request.owner = owner;
  request.group = group;
  return result_of(ask(MessageType::kSetOwner, request));
}

int hk_utimensat(int directory, const char* path, const struct timespec times[2], int flags) {
  if (path == nullptr && has_record(directory)) {
    return hk_futimens(directory, times);
  }
  Target target(directory, path, true);
  return target.is_local() ? ORIGINAL(utimensat)(directory, target.path(), times, flags)
                           : change_times(target, times, flags);
}

int hk_futimens(int fd, const struct timespec times[2]) {
  REMOTE_FILE_OR(fd, ORIGINAL(futimens)(fd, times))
  mirrord::local::AttributeRequest request = times_request(record->file, times);
  return result_of(ask(MessageType::kSetTimes, request));
}

int hk_futimes(int fd, const struct timeval times[2]) {
  REMOTE_FILE_OR(fd, ORIGINAL(futimes)(fd, times))
  struct timespec exact[2] = {};
  for (int i = 0; times != nullptr && i < 2; ++i) {
    exact[i] = {times[i].tv_sec, times[i].tv_usec * 1000};
  }
  mirrord::local::AttributeRequest request =
      times_request(record->file, times != nullptr ? exact : nullptr);
  return result_of(ask(MessageType::kSetTimes, request));
}

int hk_utimes(const char* path, const struct timeval times[2]) {
  Target target(path, true);
  return target.is_local() ? ORIGINAL(utimes)(target.path(), times)
                           : change_times_us(target, times, 0);
}

int hk_lutimes(const char* path, const struct timeval times[2]) {
  Target target(path, true);
  return target.is_local() ? ORIGINAL(lutimes)(target.path(), times)
                           : change_times_us(target, times, AT_SYMLINK_NOFOLLOW);
}

int hk_futimesat(int directory, const char* path, const struct timeval times[2]) {
  if (path == nullptr && has_record(directory)) {
    return hk_futimes(directory, times);
  }
  Target target(directory, path, true);
  return target.is_local() ? ORIGINAL(futimesat)(directory, target.path(), times)
                           : change_times_us(target, times, 0);
}

int hk_utime(const char* path, const struct utimbuf* times) {
  Target target(path, true);
  if (target.is_local()) {
    return ORIGINAL(utime)(target.path(), times);
  }
  if (times == nullptr) {
    return change_times(target, nullptr, 0);
  }
  struct timespec exact[2] = {{times->actime, 0}, {times->modtime, 0}};
  return change_times(target, exact, 0);
}

ssize_t hk_readlink(const char* path, char* data, size_t size) {
  Target target(path, false);
  return MIRRORD_LIKELY(target.is_local()) ? ORIGINAL(readlink)(target.path(), data, size)
                                           : read_link(target, data, size);
}

ssize_t hk_readlinkat(int directory, const char* path, char* data, size_t size) {
  Target target(directory, path, false);
  return MIRRORD_LIKELY(target.is_local())
             ? ORIGINAL(readlinkat)(directory, target.path(), data, size)
             : read_link(target, data, size);
}

ssize_t hk___readlink_chk(const char* path, char* data, size_t size, size_t room) {
  return hk_readlink(path, data, least(size, room));
}

ssize_t hk___readlinkat_chk(int directory, const char* path, char* data, size_t size, size_t room) {
  return hk_readlinkat(directory, path, data, least(size, room));
}

}  // extern "C"
