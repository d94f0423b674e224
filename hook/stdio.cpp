// hook/stdio.cpp — FILE streams on remote files: the C library's own when the bytes lie in a
// memfd, cookie streams that call the hooks otherwise.
#include "hook/original.h"
#include "hook/remote_file.h"

using namespace mirrord::hook;

namespace {

// Cookie streams and their descriptors, for fileno. Slots are claimed by the stream's address.
struct CookieStream {
  std::atomic<FILE*> stream;
  int fd;
};
constexpr size_t kMaxCookieStreams = 1024;
CookieStream cookie_streams[kMaxCookieStreams];
std::atomic<size_t> cookie_streams_end{0};

void remember_stream(FILE* stream, int fd) {
  for (size_t i = 0; i < kMaxCookieStreams; ++i) {
    FILE* empty = nullptr;
    if (cookie_streams[i].stream.load(std::memory_order_relaxed) == nullptr &&
        cookie_streams[i].stream.compare_exchange_strong(empty, stream)) {
      cookie_streams[i].fd = fd;
      size_t end = cookie_streams_end.load(std::memory_order_relaxed);
      while (end <= i && !cookie_streams_end.compare_exchange_weak(end, i + 1)) {
      }
      return;
    }
  }
}

void forget_stream_of(int fd) {
  size_t end = cookie_streams_end.load(std::memory_order_acquire);
  for (size_t i = 0; i < end; ++i) {
    if (cookie_streams[i].fd == fd) {
      cookie_streams[i].stream.store(nullptr, std::memory_order_release);
    }
  }
}

// The descriptor of a cookie stream, or -1.
int descriptor_of(const FILE* stream) {
  size_t end = cookie_streams_end.load(std::memory_order_acquire);
  for (size_t i = 0; i < end; ++i) {
    if (cookie_streams[i].stream.load(std::memory_order_acquire) == stream) {
      return cookie_streams[i].fd;
    }
  }
  return -1;
}

int fd_of(void* cookie) {
  return static_cast<int>(reinterpret_cast<intptr_t>(cookie));
}

ssize_t cookie_read(void* cookie, char* data, size_t size) {
  return hk_read(fd_of(cookie), data, size);
}

ssize_t cookie_write(void* cookie, const char* data, size_t size) {
  ssize_t result = hk_write(fd_of(cookie), data, size);
  return result < 0 ? 0 : result;  // 0 is the error of this interface
}

int cookie_seek(void* cookie, off64_t* offset, int whence) {
  off_t result = hk_lseek(fd_of(cookie), *offset, whence);
  if (result < 0) {
    return -1;
  }
  *offset = result;
  return 0;
}

int cookie_close(void* cookie) {
  forget_stream_of(fd_of(cookie));
  return hk_close(fd_of(cookie));
}

// open's flags for fopen's mode; -1: no such mode.
int flags_of_mode(const char* mode) {
  int flags = 0;
  switch (mode[0]) {
    case 'r':
      flags = O_RDONLY;
      break;
    case 'w':
      flags = O_WRONLY | O_CREAT | O_TRUNC;
      break;
    case 'a':
      flags = O_WRONLY | O_CREAT | O_APPEND;
      break;
    default:
      return -1;
  }
  for (const char* at = mode + 1; *at != '\0' && *at != ','; ++at) {
    if (*at == '+') {
      flags = (flags & ~O_ACCMODE) | O_RDWR;
    } else if (*at == 'x') {
      flags |= O_EXCL;
    } else if (*at == 'e') {
      flags |= O_CLOEXEC;
    }
  }
  return flags;
}

bool allows(const FileRecord& file, int flags) {
  int access = flags & O_ACCMODE;
  return (access == O_WRONLY || is_readable(file)) && (access == O_RDONLY || is_writable(file));
}

bool is_complete(const FileRecord& file) {
  return file.kind == mirrord::local::FileKind::kCached &&
         file.is_whole.load(std::memory_order_acquire);
}

FILE* stream_on(int fd, const char* mode) {
  RecordRef record(fd, RecordType::kFile);
  int flags = flags_of_mode(mode);
  if (flags < 0 || !record || !allows(record->file, flags)) {
    return fail_null(EINVAL);
  }
  if (is_complete(record->file)) {
    return ORIGINAL(fdopen)(fd, mode);
  }
  cookie_io_functions_t functions = {cookie_read, cookie_write, cookie_seek, cookie_close};
  FILE* stream = fopencookie(reinterpret_cast<void*>(static_cast<intptr_t>(fd)), mode, functions);
  if (stream != nullptr) {
    remember_stream(stream, fd);
  }
  return stream;
}

// The descriptor under any stream, ours or the C library's; -1: none.
int any_descriptor_of(FILE* stream) {
  int fd = descriptor_of(stream);
  if (fd >= 0) {
    return fd;
  }
  SavedErrno saved;
  return ORIGINAL(fileno)(stream);
}

// Reopens the stream on /dev/null, then puts the remote file under its descriptor.
FILE* reopen_remote(const Target& target, const char* mode, FILE* stream) {
  int flags = flags_of_mode(mode);
  int fd = flags < 0 ? fail_with(EINVAL) : remote_open(target, flags, 0666);
  bool usable = fd >= 0;
  if (usable) {
    RecordRef record(fd, RecordType::kFile);
    bool is_stream = record && record->file.kind == mirrord::local::FileKind::kStream;
    usable = record && (is_stream || fetch_whole(record->file) == 0);
  }
  if (!usable) {
    int error = errno;
    if (fd >= 0) {
      hk_close(fd);
    }
    hk_fclose(stream);
    return fail_null(error);
  }
  FILE* reopened = ORIGINAL(freopen)("/dev/null", mode, stream);
  if (reopened != nullptr) {
    hk_dup2(fd, ORIGINAL(fileno)(reopened));
  }
  hk_close(fd);
  return reopened;
}

}  // namespace

extern "C" {

FILE* hk_fopen(const char* path, const char* mode) {
  int flags = mode != nullptr ? flags_of_mode(mode) : -1;
  Target target(path, flags != O_RDONLY && (flags & ~O_CLOEXEC) != O_RDONLY);
  if (MIRRORD_LIKELY(target.is_local())) {
    return ORIGINAL(fopen)(target.path(), mode);
  }
  int fd = flags < 0 ? fail_with(EINVAL) : remote_open(target, flags, 0666);
  if (fd < 0) {
    return nullptr;
  }
  FILE* stream = stream_on(fd, mode);
  if (stream == nullptr) {
    SavedErrno saved;
    hk_close(fd);
  }
  return stream;
}

FILE* hk_fdopen(int fd, const char* mode) {
  REMOTE_FILE_OR(fd, ORIGINAL(fdopen)(fd, mode))
  return stream_on(fd, mode);
}

FILE* hk_freopen(const char* path, const char* mode, FILE* stream) {
  Target target(path, path != nullptr && flags_of_mode(mode) != O_RDONLY);
  if (is_active()) {
    if (Record* record = detach(any_descriptor_of(stream))) {
      release_record(record);
    }
  }
  return path == nullptr || target.is_local() ? ORIGINAL(freopen)(target.path(), mode, stream)
                                              : reopen_remote(target, mode, stream);
}

int hk_fclose(FILE* stream) {
  if (fd_table_end.load(std::memory_order_relaxed) == 0 || !is_active() || stream == nullptr ||
      descriptor_of(stream) >= 0) {
    return ORIGINAL(fclose)(stream);  // a cookie stream closes its descriptor by the hook
  }
  SavedErrno saved;
  int fd = ORIGINAL(fileno)(stream);
  if (MIRRORD_LIKELY(!has_record(fd))) {
    int result = ORIGINAL(fclose)(stream);
    saved.set(errno);
    return result;
  }
  Record* record = detach(fd);
  int result = ORIGINAL(fclose)(stream);
  int error = result != 0 ? errno : 0;
  int late = record != nullptr ? release_record(record) : 0;
  if (error == 0 && late == 0) {
    return 0;
  }
  saved.set(error != 0 ? error : late);
  return EOF;
}

int hk_fileno(FILE* stream) {
  if (MIRRORD_UNLIKELY(cookie_streams_end.load(std::memory_order_relaxed) != 0)) {
    int fd = descriptor_of(stream);
    if (fd >= 0) {
      return fd;
    }
  }
  return ORIGINAL(fileno)(stream);
}

}  // extern "C"
