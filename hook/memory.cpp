// hook/memory.cpp — the hooks that move file content without read and write: mmap, sendfile,
// splice and their like.
#include <sys/mman.h>

#include "hook/original.h"
#include "hook/remote_file.h"

using namespace mirrord::hook;

namespace {

constexpr size_t kCopyChunk = 128 * 1024;

// A buffer for copies between descriptors, off the stack.
class CopyBuffer {
 public:
  explicit CopyBuffer(size_t size) : size_(least(size, kCopyChunk)) {
    long made = raw(SYS_mmap, nullptr, kCopyChunk, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    data_ = failed(made) ? nullptr : reinterpret_cast<char*>(made);
  }
  ~CopyBuffer() {
    if (data_ != nullptr) {
      raw(SYS_munmap, data_, kCopyChunk);
    }
  }
  CopyBuffer(const CopyBuffer&) = delete;
  CopyBuffer& operator=(const CopyBuffer&) = delete;
  [[nodiscard]] char* data() const { return data_; }
  [[nodiscard]] size_t size() const { return size_; }

 private:
  char* data_;
  size_t size_;
};

// Writes all of it, or returns what was written before the error (-1 when nothing was).
ssize_t write_all(int fd, const char* data, size_t size, off_t* offset) {
  size_t done = 0;
  while (done < size) {
    ssize_t result = offset != nullptr ? hk_pwrite(fd, data + done, size - done,
                                                   *offset + static_cast<off_t>(done))
                                       : hk_write(fd, data + done, size - done);
    if (result < 0 && errno == EINTR && done == 0) {
      continue;
    }
    if (result <= 0) {
      return done != 0 ? static_cast<ssize_t>(done) : result;
    }
    done += static_cast<size_t>(result);
  }
  return static_cast<ssize_t>(done);
}

// Gives back what was read from the source's own position but could not be written.
void unread(int in, off_t count) {
  SavedErrno saved;
  if (count != 0) {
    hk_lseek(in, -count, SEEK_CUR);
  }
}

// One chunk from `in` to `out`. An offset pointer stands for the descriptor's own position.
ssize_t copy_chunk(int out, off_t* out_offset, int in, off_t* in_offset, CopyBuffer& buffer,
                   size_t wanted) {
  size_t size = least(wanted, buffer.size());
  ssize_t got = in_offset != nullptr ? hk_pread(in, buffer.data(), size, *in_offset)
                                     : hk_read(in, buffer.data(), size);
  if (got <= 0) {
    return got;
  }
  ssize_t put = write_all(out, buffer.data(), static_cast<size_t>(got), out_offset);
  ssize_t moved = put < 0 ? 0 : put;
  if (in_offset != nullptr) {
    *in_offset += moved;
  } else {
    unread(in, got - moved);
  }
  if (out_offset != nullptr) {
    *out_offset += moved;
  }
  return put;
}

// sendfile, splice and copy_file_range where one side is remote. They may move less than asked,
// so one pass over the buffer would do; a few more save calls.
ssize_t copy_between(int out, off_t* out_offset, int in, off_t* in_offset, size_t count,
                     bool in_once) {
  CopyBuffer buffer(count);
  if (buffer.data() == nullptr) {
    return fail_with(ENOMEM);
  }
  size_t done = 0;
  while (done < count) {
    ssize_t result = copy_chunk(out, out_offset, in, in_offset, buffer, count - done);
    if (result < 0) {
      return done != 0 ? static_cast<ssize_t>(done) : -1;
    }
    done += static_cast<size_t>(result);
    if (result == 0 || in_once || static_cast<size_t>(result) < buffer.size()) {
      break;
    }
  }
  return static_cast<ssize_t>(done);
}

bool is_remote_file(int fd) {
  if (MIRRORD_LIKELY(!has_record(fd)) || !is_active()) {
    return false;
  }
  return static_cast<bool>(RecordRef(fd, RecordType::kFile));
}

// Whether the bytes of the descriptor can be had by the kernel alone.
bool is_native_source(int fd) {
  RecordRef record(fd, RecordType::kFile);
  return !record || (record->file.kind == mirrord::local::FileKind::kCached &&
                     record->file.is_whole.load(std::memory_order_acquire));
}

// A private copy of a file that the kernel has no bytes of.
void* map_copy(FileRecord& file, int fd, void* address, size_t length, int protection, int flags,
               off_t offset) {
  constexpr size_t kMost = size_t{1} << 30;
  if (length > kMost) {
    errno = ENODEV;
    return MAP_FAILED;
  }
  int own_flags = (flags & ~MAP_TYPE) | MAP_PRIVATE | MAP_ANONYMOUS;
  void* made = ORIGINAL(mmap)(address, length, PROT_READ | PROT_WRITE, own_flags, -1, 0);
  if (made == MAP_FAILED) {
    return made;
  }
  iovec part = {made, length};
  SavedErrno saved;
  if (remote_readv(file, fd, &part, 1, offset) < 0) {
    saved.set(errno);
    raw(SYS_munmap, made, length);
    return MAP_FAILED;
  }
  raw(SYS_mprotect, made, length, protection);
  return made;
}

// Allocators map memory before anything else works: never look the original up for them.
void* map_locally(void* address, size_t length, int protection, int flags, int fd, off_t offset) {
  if (session_state.load(std::memory_order_relaxed) == SessionState::kActive) {
    return ORIGINAL(mmap)(address, length, protection, flags, fd, offset);
  }
  long result = raw(SYS_mmap, address, length, protection, flags, fd, offset);
  return failed(result) ? reinterpret_cast<void*>(to_errno(result))
                        : reinterpret_cast<void*>(result);
}

void* map_remote(FileRecord& file, int fd, void* address, size_t length, int protection, int flags,
                 off_t offset) {
  bool is_shared = (flags & MAP_TYPE) != MAP_PRIVATE;
  if (!is_readable(file)) {
    errno = EACCES;
    return MAP_FAILED;
  }
  if (is_shared && (protection & PROT_WRITE) != 0) {
    // Stores into memory cannot be sent: as for file systems that do not have this.
    errno = is_writable(file) ? ENODEV : EACCES;
    return MAP_FAILED;
  }
  if (file.kind == mirrord::local::FileKind::kDirect) {
    return map_copy(file, fd, address, length, protection, flags, offset);
  }
  if (fetch_whole(file) != 0) {
    return MAP_FAILED;
  }
  return ORIGINAL(mmap)(address, length, protection, flags, fd, offset);
}

}  // namespace

extern "C" {

void* hk_mmap(void* address, size_t length, int protection, int flags, int fd, off_t offset) {
  if (MIRRORD_LIKELY(!has_record(fd)) || (flags & MAP_ANONYMOUS) != 0 || !is_active()) {
    return map_locally(address, length, protection, flags, fd, offset);
  }
  RecordRef record(fd, RecordType::kFile);
  return record ? map_remote(record->file, fd, address, length, protection, flags, offset)
                : map_locally(address, length, protection, flags, fd, offset);
}

ssize_t hk_sendfile(int out, int in, off_t* offset, size_t count) {
  bool is_out_remote = is_remote_file(out);
  if (MIRRORD_LIKELY(!is_out_remote && (!is_remote_file(in) || is_native_source(in)))) {
    return ORIGINAL(sendfile)(out, in, offset, count);
  }
  return copy_between(out, nullptr, in, offset, count, false);
}

ssize_t hk_splice(int in, off64_t* in_offset, int out, off64_t* out_offset, size_t count,
                  unsigned flags) {
  bool is_out_remote = is_remote_file(out);
  if (MIRRORD_LIKELY(!is_out_remote && (!is_remote_file(in) || is_native_source(in)))) {
    return ORIGINAL(splice)(in, in_offset, out, out_offset, count, flags);
  }
  return copy_between(out, out_offset, in, in_offset, count, true);
}

ssize_t hk_tee(int in, int out, size_t count, unsigned flags) {
  return is_remote_file(in) || is_remote_file(out) ? fail_with(EINVAL)  // neither is a pipe
                                                   : ORIGINAL(tee)(in, out, count, flags);
}

ssize_t hk_vmsplice(int fd, const struct iovec* parts, size_t count, unsigned flags) {
  return is_remote_file(fd) ? fail_with(EBADF) : ORIGINAL(vmsplice)(fd, parts, count, flags);
}

ssize_t hk_copy_file_range(int in, off64_t* in_offset, int out, off64_t* out_offset, size_t count,
                           unsigned flags) {
  if (MIRRORD_LIKELY(!is_remote_file(in) && !is_remote_file(out))) {
    return ORIGINAL(copy_file_range)(in, in_offset, out, out_offset, count, flags);
  }
  if (flags != 0) {
    return fail_with(EINVAL);
  }
  return copy_between(out, out_offset, in, in_offset, count, false);
}

}  // extern "C"
