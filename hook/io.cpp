// hook/io.cpp — the hooks that read, write and seek on descriptors.
#include "hook/original.h"
#include "hook/remote_file.h"

using namespace mirrord::hook;

extern "C" {

ssize_t hk_read(int fd, void* data, size_t size) {
  REMOTE_FILE_OR(fd, ORIGINAL(read)(fd, data, size))
  iovec part = {data, size};
  return remote_readv(record->file, fd, &part, 1, kHere);
}

ssize_t hk___read_chk(int fd, void* data, size_t size, size_t room) {
  REMOTE_FILE_OR(fd, ORIGINAL(__read_chk)(fd, data, size, room))
  iovec part = {data, least(size, room)};
  return remote_readv(record->file, fd, &part, 1, kHere);
}

ssize_t hk_readv(int fd, const struct iovec* parts, int count) {
  REMOTE_FILE_OR(fd, ORIGINAL(readv)(fd, parts, count))
  return parts == nullptr && count != 0 ? fail_with(EFAULT)
                                        : remote_readv(record->file, fd, parts, count, kHere);
}

ssize_t hk_pread(int fd, void* data, size_t size, off_t offset) {
  REMOTE_FILE_OR(fd, ORIGINAL(pread)(fd, data, size, offset))
  iovec part = {data, size};
  return offset < 0 ? fail_with(EINVAL) : remote_readv(record->file, fd, &part, 1, offset);
}

ssize_t hk___pread_chk(int fd, void* data, size_t size, off_t offset, size_t room) {
  REMOTE_FILE_OR(fd, ORIGINAL(__pread_chk)(fd, data, size, offset, room))
  iovec part = {data, least(size, room)};
  return offset < 0 ? fail_with(EINVAL) : remote_readv(record->file, fd, &part, 1, offset);
}

ssize_t hk_preadv(int fd, const struct iovec* parts, int count, off_t offset) {
  REMOTE_FILE_OR(fd, ORIGINAL(preadv)(fd, parts, count, offset))
  return offset < 0 ? fail_with(EINVAL) : remote_readv(record->file, fd, parts, count, offset);
}

ssize_t hk_preadv2(int fd, const struct iovec* parts, int count, off_t offset, int flags) {
  REMOTE_FILE_OR(fd, ORIGINAL(preadv2)(fd, parts, count, offset, flags))
  return remote_readv(record->file, fd, parts, count, offset);
}

ssize_t hk_write(int fd, const void* data, size_t size) {
  REMOTE_FILE_OR(fd, ORIGINAL(write)(fd, data, size))
  iovec part = {const_cast<void*>(data), size};
  return remote_writev(record->file, fd, &part, 1, kHere);
}

ssize_t hk_writev(int fd, const struct iovec* parts, int count) {
  REMOTE_FILE_OR(fd, ORIGINAL(writev)(fd, parts, count))
  return parts == nullptr && count != 0 ? fail_with(EFAULT)
                                        : remote_writev(record->file, fd, parts, count, kHere);
}

ssize_t hk_pwrite(int fd, const void* data, size_t size, off_t offset) {
  REMOTE_FILE_OR(fd, ORIGINAL(pwrite)(fd, data, size, offset))
  iovec part = {const_cast<void*>(data), size};
  return offset < 0 ? fail_with(EINVAL) : remote_writev(record->file, fd, &part, 1, offset);
}

ssize_t hk_pwritev(int fd, const struct iovec* parts, int count, off_t offset) {
  REMOTE_FILE_OR(fd, ORIGINAL(pwritev)(fd, parts, count, offset))
  return offset < 0 ? fail_with(EINVAL) : remote_writev(record->file, fd, parts, count, offset);
}

ssize_t hk_pwritev2(int fd, const struct iovec* parts, int count, off_t offset, int flags) {
  REMOTE_FILE_OR(fd, ORIGINAL(pwritev2)(fd, parts, count, offset, flags))
  return remote_writev(record->file, fd, parts, count, offset);
}

off_t hk_lseek(int fd, off_t offset, int whence) {
  REMOTE_FILE_OR(fd, ORIGINAL(lseek)(fd, offset, whence))
  return remote_seek(record->file, fd, offset, whence);
}

int hk_fsync(int fd) {
  REMOTE_FILE_OR(fd, ORIGINAL(fsync)(fd))
  return remote_sync(record->file);
}

int hk_fdatasync(int fd) {
  REMOTE_FILE_OR(fd, ORIGINAL(fdatasync)(fd))
  return remote_sync(record->file);
}

int hk_ftruncate(int fd, off_t length) {
  REMOTE_FILE_OR(fd, ORIGINAL(ftruncate)(fd, length))
  return remote_truncate(record->file, length);
}

int hk_posix_fadvise(int fd, off_t offset, off_t length, int advice) {
  REMOTE_FILE_OR(fd, ORIGINAL(posix_fadvise)(fd, offset, length, advice))
  return 0;  // advice only
}

int hk_posix_fallocate(int fd, off_t offset, off_t length) {
  REMOTE_FILE_OR(fd, ORIGINAL(posix_fallocate)(fd, offset, length))
  SavedErrno saved;  // this one returns the error
  return remote_allocate(record->file, 0, offset, length) == 0 ? 0 : errno;
}

int hk_fallocate(int fd, int mode, off_t offset, off_t length) {
  REMOTE_FILE_OR(fd, ORIGINAL(fallocate)(fd, mode, offset, length))
  return remote_allocate(record->file, mode, offset, length);
}

ssize_t hk_readahead(int fd, off64_t offset, size_t count) {
  REMOTE_FILE_OR(fd, ORIGINAL(readahead)(fd, offset, count))
  return 0;
}

int hk_sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
  REMOTE_FILE_OR(fd, ORIGINAL(sync_file_range)(fd, offset, length, flags))
  return is_writable(record->file) ? remote_sync(record->file) : 0;
}

int hk_syncfs(int fd) {
  REMOTE_FILE_OR(fd, ORIGINAL(syncfs)(fd))
  return is_writable(record->file) ? remote_sync(record->file) : 0;
}

}  // extern "C"
