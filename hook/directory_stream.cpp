// hook/directory_stream.cpp — DIR for remote directories, and the hooks that take one.
#include "hook/directory_stream.h"

#include <sys/mman.h>

#include "hook/original.h"
#include "hook/remote_file.h"

namespace mirrord::hook {
namespace {

constexpr uint32_t kMaxStreams = 1024;

std::atomic<DirectoryStream*> streams{nullptr};
std::atomic<uint32_t> streams_used{0};
std::atomic<uint64_t> free_streams{0};  // tag << 32 | index + 1

DirectoryStream* reserve_streams() {
  DirectoryStream* reserved = streams.load(std::memory_order_acquire);
  if (reserved != nullptr) {
    return reserved;
  }
  constexpr size_t kSize = sizeof(DirectoryStream) * kMaxStreams;
  long made = raw(SYS_mmap, nullptr, kSize, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (failed(made)) {
    return nullptr;
  }
  if (!streams.compare_exchange_strong(reserved, reinterpret_cast<DirectoryStream*>(made))) {
    raw(SYS_munmap, made, kSize);
    return reserved;
  }
  return reinterpret_cast<DirectoryStream*>(made);
}

DirectoryStream* take_stream() {
  DirectoryStream* all = reserve_streams();
  if (all == nullptr) {
    return nullptr;
  }
  uint64_t head = free_streams.load(std::memory_order_acquire);
  while (static_cast<uint32_t>(head) != 0) {
    DirectoryStream* stream = &all[static_cast<uint32_t>(head) - 1];
    uint64_t next = ((head >> 32) + 1) << 32 | stream->next_free;
    if (free_streams.compare_exchange_weak(head, next, std::memory_order_acq_rel)) {
      return stream;
    }
  }
  uint32_t index = streams_used.fetch_add(1, std::memory_order_relaxed);
  if (index >= kMaxStreams) {
    streams_used.fetch_sub(1, std::memory_order_relaxed);
    return nullptr;
  }
  return &all[index];
}

void give_stream(DirectoryStream* stream) {
  uint32_t index = static_cast<uint32_t>(stream - streams.load(std::memory_order_relaxed)) + 1;
  uint64_t head = free_streams.load(std::memory_order_relaxed);
  uint64_t next;
  do {
    stream->next_free = static_cast<uint32_t>(head);
    next = ((head >> 32) + 1) << 32 | index;
  } while (!free_streams.compare_exchange_weak(head, next, std::memory_order_acq_rel));
}

DirectoryStream* ours(DIR* stream) {
  return reinterpret_cast<DirectoryStream*>(stream);
}

// The next record, or nullptr at the end (errno untouched) and on errors (errno set).
struct dirent* next_entry(DirectoryStream* stream) {
  if (stream->at >= stream->end) {
    RecordRef record(stream->fd, RecordType::kFile);
    if (!record) {
      return fail_null(EBADF);
    }
    stream->data_start = raw(SYS_lseek, stream->fd, 0, SEEK_CUR);
    long size = remote_entries(record->file, stream->fd, stream->data, sizeof stream->data);
    stream->at = 0;
    stream->end = size > 0 ? static_cast<size_t>(size) : 0;
    if (size <= 0) {
      return nullptr;
    }
  }
  auto* entry = reinterpret_cast<struct dirent*>(stream->data + stream->at);
  stream->at += entry->d_reclen;
  return entry;
}

void seek_stream(DirectoryStream* stream, off_t position) {
  stream->at = 0;
  stream->end = 0;
  RecordRef record(stream->fd, RecordType::kFile);
  if (record) {
    SavedErrno saved;
    remote_seek(record->file, stream->fd, position, SEEK_SET);
  }
}

}  // namespace

long remote_entries(FileRecord& file, int fd, void* data, size_t size) {
  if (fetch_entries(file) != 0) {
    return -1;
  }
  long position = raw(SYS_lseek, fd, 0, SEEK_CUR);
  long got = raw(SYS_pread64, fd, data, size, position);
  if (failed(got)) {
    return to_errno(got);
  }
  // Only whole records.
  size_t end = 0;
  while (end + offsetof(struct dirent, d_name) < static_cast<size_t>(got)) {
    auto* entry = reinterpret_cast<struct dirent*>(static_cast<char*>(data) + end);
    if (entry->d_reclen == 0 || end + entry->d_reclen > static_cast<size_t>(got)) {
      break;
    }
    end += entry->d_reclen;
  }
  if (end == 0 && got > 0) {
    return fail_with(EINVAL);  // the buffer is too small for one
  }
  raw(SYS_lseek, fd, position + static_cast<long>(end), SEEK_SET);
  return static_cast<long>(end);
}

bool is_ours(const DIR* stream) {
  const DirectoryStream* all = streams.load(std::memory_order_relaxed);
  const auto* candidate = reinterpret_cast<const DirectoryStream*>(stream);
  return all != nullptr && candidate >= all && candidate < all + kMaxStreams;
}

DIR* make_stream(int fd) {
  RecordRef record(fd, RecordType::kFile);
  if (!record || record->file.kind != local::FileKind::kDirectory) {
    return fail_null(ENOTDIR);
  }
  DirectoryStream* stream = take_stream();
  if (stream == nullptr) {
    return fail_null(ENOMEM);
  }
  stream->fd = fd;
  stream->at = 0;
  stream->end = 0;
  stream->data_start = 0;
  return reinterpret_cast<DIR*>(stream);
}

}  // namespace mirrord::hook

using namespace mirrord::hook;

extern "C" {

DIR* hk_opendir(const char* path) {
  Target target(path, false);
  if (MIRRORD_LIKELY(target.is_local())) {
    return ORIGINAL(opendir)(target.path());
  }
  int fd = remote_open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK, 0);
  DIR* stream = fd >= 0 ? make_stream(fd) : nullptr;
  if (stream == nullptr && fd >= 0) {
    SavedErrno saved;
    hk_close(fd);
  }
  return stream;
}

DIR* hk_fdopendir(int fd) {
  REMOTE_FILE_OR(fd, ORIGINAL(fdopendir)(fd))
  DIR* stream = make_stream(fd);
  if (stream != nullptr) {
    raw(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
  }
  return stream;
}

struct dirent* hk_readdir(DIR* stream) {
  return MIRRORD_LIKELY(!is_ours(stream)) ? ORIGINAL(readdir)(stream) : next_entry(ours(stream));
}

int hk_readdir_r(DIR* stream, struct dirent* entry, struct dirent** result) {
  if (MIRRORD_LIKELY(!is_ours(stream))) {
    return ORIGINAL(readdir_r)(stream, entry, result);
  }
  SavedErrno saved;
  errno = 0;
  const struct dirent* next = next_entry(ours(stream));
  *result = nullptr;
  if (next == nullptr) {
    return errno;
  }
  __builtin_memcpy(entry, next, least(sizeof *entry, size_t{next->d_reclen}));
  *result = entry;
  return 0;
}

int hk_closedir(DIR* stream) {
  if (MIRRORD_LIKELY(!is_ours(stream))) {
    return ORIGINAL(closedir)(stream);
  }
  int fd = ours(stream)->fd;
  give_stream(ours(stream));
  return hk_close(fd);
}

int hk_dirfd(DIR* stream) {
  return MIRRORD_LIKELY(!is_ours(stream)) ? ORIGINAL(dirfd)(stream) : ours(stream)->fd;
}

void hk_rewinddir(DIR* stream) {
  if (MIRRORD_LIKELY(!is_ours(stream))) {
    ORIGINAL(rewinddir)(stream);
  } else {
    seek_stream(ours(stream), 0);
  }
}

void hk_seekdir(DIR* stream, long position) {
  if (MIRRORD_LIKELY(!is_ours(stream))) {
    ORIGINAL(seekdir)(stream, position);
  } else if (position == 0) {
    seek_stream(ours(stream), 0);
  } else {
    ours(stream)->at = 0;
    ours(stream)->end = 0;
    raw(SYS_lseek, ours(stream)->fd, position, SEEK_SET);
  }
}

long hk_telldir(DIR* stream) {
  if (MIRRORD_LIKELY(!is_ours(stream))) {
    return ORIGINAL(telldir)(stream);
  }
  const DirectoryStream* own = ours(stream);
  return own->end == 0 ? raw(SYS_lseek, own->fd, 0, SEEK_CUR)
                       : own->data_start + static_cast<long>(own->at);
}

ssize_t hk_getdents64(int fd, void* data, size_t size) {
  REMOTE_FILE_OR(fd, ORIGINAL(getdents64)(fd, data, size))
  return remote_entries(record->file, fd, data, size);
}

}  // extern "C"
