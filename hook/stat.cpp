// hook/stat.cpp — the hooks of the stat, statfs and access families.
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include "hook/ipc.h"
#include "hook/original.h"
#include "hook/remote_file.h"

using namespace mirrord::hook;
using mirrord::local::FsMetadata;
using mirrord::local::MessageType;
using mirrord::local::Metadata;

namespace {

struct timespec to_timespec(int64_t nanoseconds) {
  int64_t seconds = nanoseconds / 1'000'000'000;
  int64_t rest = nanoseconds % 1'000'000'000;
  if (rest < 0) {
    --seconds;
    rest += 1'000'000'000;
  }
  return {seconds, rest};
}

void fill_stat(struct stat* status, const Metadata& metadata) {
  *status = {};
  status->st_dev = metadata.device;
  status->st_ino = metadata.inode;
  status->st_nlink = static_cast<nlink_t>(metadata.link_count);
  status->st_mode = metadata.mode;
  status->st_uid = metadata.user_id;
  status->st_gid = metadata.group_id;
  status->st_rdev = metadata.rdevice;
  status->st_size = static_cast<off_t>(metadata.size);
  status->st_blksize = static_cast<blksize_t>(metadata.block_size);
  status->st_blocks = static_cast<blkcnt_t>(metadata.blocks);
  status->st_atim = to_timespec(metadata.access_ns);
  status->st_mtim = to_timespec(metadata.modification_ns);
  status->st_ctim = to_timespec(metadata.change_ns);
}

struct statx_timestamp to_statx_time(int64_t nanoseconds) {
  struct timespec time = to_timespec(nanoseconds);
  struct statx_timestamp result = {};
  result.tv_sec = time.tv_sec;
  result.tv_nsec = static_cast<uint32_t>(time.tv_nsec);
  return result;
}

void fill_statx(struct statx* status, const Metadata& metadata) {
  *status = {};
  status->stx_mask = STATX_BASIC_STATS;
  status->stx_blksize = static_cast<uint32_t>(metadata.block_size);
  status->stx_nlink = static_cast<uint32_t>(metadata.link_count);
  status->stx_uid = metadata.user_id;
  status->stx_gid = metadata.group_id;
  status->stx_mode = static_cast<uint16_t>(metadata.mode);
  status->stx_ino = metadata.inode;
  status->stx_size = metadata.size;
  status->stx_blocks = metadata.blocks;
  status->stx_atime = to_statx_time(metadata.access_ns);
  status->stx_mtime = to_statx_time(metadata.modification_ns);
  status->stx_ctime = to_statx_time(metadata.change_ns);
  status->stx_rdev_major = major(metadata.rdevice);
  status->stx_rdev_minor = minor(metadata.rdevice);
  status->stx_dev_major = major(metadata.device);
  status->stx_dev_minor = minor(metadata.device);
}

int stat_target(const Target& target, int flags, struct stat* status) {
  if (!is_pointer(status)) {
    return fail_with(EFAULT);
  }
  Metadata metadata = {};
  if (metadata_at(target, flags, metadata) != 0) {
    return -1;
  }
  fill_stat(status, metadata);
  return 0;
}

// Old C libraries have no function of this name: the kernel's structure is the same.
int local_stat_at(int directory, const char* path, struct stat* status, int flags) {
  if (MIRRORD_UNLIKELY(!is_pointer(path)) && (flags & AT_EMPTY_PATH) == 0) {
    return fail_with(EFAULT);  // musl looks at the path before the kernel does
  }
  if (has_original(kOriginal_fstatat)) {
    return ORIGINAL(fstatat)(directory, path, status, flags);
  }
  return static_cast<int>(to_errno(raw(SYS_newfstatat, directory, path, status, flags)));
}

int stat_path(const char* path, struct stat* status, int flags) {
  Target target(path, false);
  return MIRRORD_LIKELY(target.is_local()) ? local_stat_at(AT_FDCWD, target.path(), status, flags)
                                           : stat_target(target, flags, status);
}

int stat_at(int directory, const char* path, struct stat* status, int flags) {
  Target target(directory, path, false, (flags & AT_EMPTY_PATH) != 0);
  return MIRRORD_LIKELY(target.is_local()) ? local_stat_at(directory, target.path(), status, flags)
                                           : stat_target(target, flags, status);
}

int local_stat_fd(int fd, struct stat* status) {
  if (has_original(kOriginal_fstat)) {
    return ORIGINAL(fstat)(fd, status);
  }
  return static_cast<int>(to_errno(raw(SYS_fstat, fd, status)));
}

int stat_fd(int fd, struct stat* status) {
  REMOTE_FILE_OR(fd, local_stat_fd(fd, status))
  Metadata metadata = {};
  if (!is_pointer(status)) {
    return fail_with(EFAULT);
  }
  if (metadata_of(record->file, metadata) != 0) {
    return -1;
  }
  fill_stat(status, metadata);
  return 0;
}

void fill_statfs(struct statfs* status, const FsMetadata& metadata) {
  *status = {};
  status->f_type = static_cast<decltype(status->f_type)>(metadata.type);
  status->f_bsize = static_cast<decltype(status->f_bsize)>(metadata.block_size);
  status->f_blocks = metadata.blocks;
  status->f_bfree = metadata.blocks_free;
  status->f_bavail = metadata.blocks_available;
  status->f_files = metadata.files;
  status->f_ffree = metadata.files_free;
  __builtin_memcpy(&status->f_fsid, metadata.id, sizeof metadata.id);
  status->f_namelen = static_cast<decltype(status->f_namelen)>(metadata.name_length);
  status->f_frsize = static_cast<decltype(status->f_frsize)>(metadata.fragment_size);
  status->f_flags = static_cast<decltype(status->f_flags)>(metadata.flags);
}

void fill_statvfs(struct statvfs* status, const FsMetadata& metadata) {
  constexpr int64_t kValidFlags = 0x20;  // ST_VALID of the kernel, not for programs
  *status = {};
  status->f_bsize = static_cast<unsigned long>(metadata.block_size);
  status->f_frsize = static_cast<unsigned long>(metadata.fragment_size != 0 ? metadata.fragment_size
                                                                            : metadata.block_size);
  status->f_blocks = metadata.blocks;
  status->f_bfree = metadata.blocks_free;
  status->f_bavail = metadata.blocks_available;
  status->f_files = metadata.files;
  status->f_ffree = metadata.files_free;
  status->f_favail = metadata.files_free;
  status->f_fsid = static_cast<uint32_t>(metadata.id[0]);
  status->f_flag = static_cast<unsigned long>(metadata.flags & ~kValidFlags);
  status->f_namemax = static_cast<unsigned long>(metadata.name_length);
}

int fs_metadata_at(const Target& target, FsMetadata& metadata) {
  if (int error = target.early_error()) {
    return fail_with(error);
  }
  mirrord::local::PathRequest request = {};
  request.first_length = static_cast<uint32_t>(target.length());
  return result_of(
      exchange(MessageType::kStatFs, request, metadata, target.path(), target.length()));
}

int fs_metadata_of(const FileRecord& file, FsMetadata& metadata) {
  mirrord::local::HandleRequest request = {file.handle};
  return result_of(exchange(MessageType::kStatFsHandle, request, metadata));
}

int access_at(const Target& target, int mode, int flags) {
  if ((mode & ~(R_OK | W_OK | X_OK)) != 0) {
    return fail_with(EINVAL);
  }
  mirrord::local::PathRequest request = {};
  request.mode = static_cast<uint32_t>(mode);
  request.flags = static_cast<uint32_t>(flags);
  return ask_path(MessageType::kAccess, target, request);
}

}  // namespace

extern "C" {

int hk_stat(const char* path, struct stat* status) {
  return stat_path(path, status, 0);
}

int hk_lstat(const char* path, struct stat* status) {
  return stat_path(path, status, AT_SYMLINK_NOFOLLOW);
}

int hk_fstat(int fd, struct stat* status) {
  return stat_fd(fd, status);
}

int hk_fstatat(int directory, const char* path, struct stat* status, int flags) {
  return stat_at(directory, path, status, flags);
}

int hk___xstat(int, const char* path, struct stat* status) {
  return stat_path(path, status, 0);
}

int hk___lxstat(int, const char* path, struct stat* status) {
  return stat_path(path, status, AT_SYMLINK_NOFOLLOW);
}

int hk___fxstat(int, int fd, struct stat* status) {
  return stat_fd(fd, status);
}

int hk___fxstatat(int, int directory, const char* path, struct stat* status, int flags) {
  return stat_at(directory, path, status, flags);
}

int hk_statx(int directory, const char* path, int flags, unsigned mask, struct statx* status) {
  Target target(directory, path, false, (flags & AT_EMPTY_PATH) != 0);
  if (MIRRORD_LIKELY(target.is_local())) {
    return has_original(kOriginal_statx)
               ? ORIGINAL(statx)(directory, target.path(), flags, mask, status)
               : static_cast<int>(
                     to_errno(raw(SYS_statx, directory, target.path(), flags, mask, status)));
  }
  if (!is_pointer(status)) {
    return fail_with(EFAULT);
  }
  if ((mask & STATX__RESERVED) != 0) {
    return fail_with(EINVAL);
  }
  Metadata metadata = {};
  if (metadata_at(target, flags, metadata) != 0) {
    return -1;
  }
  fill_statx(status, metadata);
  return 0;
}

int hk_access(const char* path, int mode) {
  Target target(path, (mode & W_OK) != 0);
  return MIRRORD_LIKELY(target.is_local()) ? ORIGINAL(access)(target.path(), mode)
                                           : access_at(target, mode, 0);
}

int hk_faccessat(int directory, const char* path, int mode, int flags) {
  Target target(directory, path, (mode & W_OK) != 0);
  return MIRRORD_LIKELY(target.is_local())
             ? ORIGINAL(faccessat)(directory, target.path(), mode, flags)
             : access_at(target, mode, flags);
}

int hk_euidaccess(const char* path, int mode) {
  Target target(path, (mode & W_OK) != 0);
  return MIRRORD_LIKELY(target.is_local()) ? ORIGINAL(euidaccess)(target.path(), mode)
                                           : access_at(target, mode, AT_EACCESS);
}

int hk_statfs(const char* path, struct statfs* status) {
  Target target(path, false);
  if (MIRRORD_LIKELY(target.is_local())) {
    return ORIGINAL(statfs)(target.path(), status);
  }
  if (!is_pointer(status)) {
    return fail_with(EFAULT);
  }
  FsMetadata metadata = {};
  if (fs_metadata_at(target, metadata) != 0) {
    return -1;
  }
  fill_statfs(status, metadata);
  return 0;
}

int hk_fstatfs(int fd, struct statfs* status) {
  REMOTE_FILE_OR(fd, ORIGINAL(fstatfs)(fd, status))
  if (!is_pointer(status)) {
    return fail_with(EFAULT);
  }
  FsMetadata metadata = {};
  if (fs_metadata_of(record->file, metadata) != 0) {
    return -1;
  }
  fill_statfs(status, metadata);
  return 0;
}

int hk_statvfs(const char* path, struct statvfs* status) {
  Target target(path, false);
  if (MIRRORD_LIKELY(target.is_local())) {
    return ORIGINAL(statvfs)(target.path(), status);
  }
  if (!is_pointer(status)) {
    return fail_with(EFAULT);
  }
  FsMetadata metadata = {};
  if (fs_metadata_at(target, metadata) != 0) {
    return -1;
  }
  fill_statvfs(status, metadata);
  return 0;
}

int hk_fstatvfs(int fd, struct statvfs* status) {
  REMOTE_FILE_OR(fd, ORIGINAL(fstatvfs)(fd, status))
  if (!is_pointer(status)) {
    return fail_with(EFAULT);
  }
  FsMetadata metadata = {};
  if (fs_metadata_of(record->file, metadata) != 0) {
    return -1;
  }
  fill_statvfs(status, metadata);
  return 0;
}

}  // extern "C"
