// hook/remote_read.cpp — reading remote files: natively from the memfd when the bytes are there,
// through the shared window with read-ahead, or by message.
#include "hook/ipc.h"
#include "hook/remote_file.h"
#include "hook/retry_wait.h"

namespace mirrord::hook {
namespace {

// A read at the end of the file asks again when the last answer is older than this.
constexpr uint64_t kEndIsKnownFor = 1'000'000'000;

bool is_end_known(const FileRecord& file) {
  return coarse_now_ns() - file.asked_ns.load(std::memory_order_relaxed) < kEndIsKnownFor;
}

size_t total_size(const iovec* parts, int count) {
  size_t total = 0;
  for (int i = 0; i < count; ++i) {
    total += parts[i].iov_len;
  }
  return total;
}

// Asks for [offset, offset + length). Returns 0 or an errno.
int fetch(FileRecord& file, uint64_t offset, uint64_t length, local::RangeReply& range) {
  local::RangeRequest request = {file.handle, offset, length, 0, 0};
  int error = exchange(local::MessageType::kFetch, request, range);
  if (error == 0) {
    file.asked_ns.store(coarse_now_ns(), std::memory_order_relaxed);
    file.file_size.store(range.file_size, std::memory_order_relaxed);
  }
  return error;
}

// ---- files whose bytes all lie in the memfd

long native_readv(int fd, const iovec* parts, int count, off_t offset) {
  if (offset == kHere) {
    return raw(SYS_readv, fd, parts, count);
  }
  return raw(SYS_preadv, fd, parts, count, offset, 0);
}

ssize_t read_whole(FileRecord& file, int fd, const iovec* parts, int count, off_t offset) {
  long result = native_readv(fd, parts, count, offset);
  if (result != 0 || total_size(parts, count) == 0 || is_end_known(file)) {
    return to_errno(result);
  }
  // The end of the file: has it grown?
  long position = offset == kHere ? raw(SYS_lseek, fd, 0, SEEK_CUR) : offset;
  local::RangeReply range = {};
  int error = fetch(file, static_cast<uint64_t>(position), local::kMaxData, range);
  if (error != 0) {
    return fail_with(error);
  }
  return range.end > static_cast<uint64_t>(position)
             ? to_errno(native_readv(fd, parts, count, offset))
             : 0;
}

// ---- files with a window

// The shared slot, while it is this file's.
local::FileSlot* slot_of(const FileRecord& file) {
  if (file.slot == local::kNoSlot) {
    return nullptr;
  }
  local::FileSlot* slot = &session.slots[file.slot];
  return __atomic_load_n(&slot->handle, __ATOMIC_ACQUIRE) == file.handle ? slot : nullptr;
}

// Bytes that are ready at `position`.
uint64_t ready_at(const local::FileSlot& slot, uint64_t position) {
  uint64_t begin = __atomic_load_n(&slot.begin, __ATOMIC_ACQUIRE);
  uint64_t end = __atomic_load_n(&slot.end, __ATOMIC_ACQUIRE);
  return position >= begin && position < end ? end - position : 0;
}

// Reads what is ready at `position`, up to `length`: its size, or 0 when nothing is. A window that
// changed meanwhile may have been away and back: only a read under one generation counts.
long read_ready(const local::FileSlot& slot, int fd, char* data, size_t length, uint64_t position) {
  for (int i = 0; i < 8; ++i) {
    uint32_t generation = __atomic_load_n(&slot.generation, __ATOMIC_ACQUIRE);
    uint64_t ready = ready_at(slot, position);
    if (ready == 0) {
      return 0;
    }
    long result = raw(SYS_pread64, fd, data, least(length, static_cast<size_t>(ready)),
                      static_cast<long>(position));
    if (__atomic_load_n(&slot.generation, __ATOMIC_ACQUIRE) == generation) {
      return result;
    }
  }
  return 0;
}

void tell_position(const FileRecord& file, local::FileSlot* slot, uint64_t position) {
  if (slot == nullptr) {
    return;
  }
  __atomic_store_n(&slot->reader_position, position, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&slot->wants_nudge, __ATOMIC_SEQ_CST) != 0 &&
      position >= __atomic_load_n(&slot->nudge_at, __ATOMIC_ACQUIRE) &&
      __atomic_exchange_n(&slot->wants_nudge, 0, __ATOMIC_ACQ_REL) != 0) {
    local::RangeRequest message = {file.handle, position, 0, 0, 0};
    notify({local::MessageType::kNudge, &message, sizeof message, nullptr, 0, -1});
  }
}

constexpr long kEndOfFile = -4096;  // no errno

// Asks for the bytes at `position` and reads what came. 0: another reader of the same file has
// moved the window away again.
long fetch_and_read(FileRecord& file, int fd, char* data, size_t length, uint64_t position) {
  if (position >= file.file_size.load(std::memory_order_relaxed) && is_end_known(file)) {
    return kEndOfFile;
  }
  local::RangeReply range = {};
  if (int error = fetch(file, position, least(length, local::kMaxData), range)) {
    return -error;
  }
  if (position >= range.file_size) {
    return kEndOfFile;
  }
  if (const local::FileSlot* slot = slot_of(file)) {
    return read_ready(*slot, fd, data, length, position);
  }
  bool is_there = position >= range.begin && position < range.end;
  size_t ready = is_there ? static_cast<size_t>(range.end - position) : 0;
  return is_there ? raw(SYS_pread64, fd, data, least(length, ready), static_cast<long>(position))
                  : kEndOfFile;
}

// Some bytes at `position`: their count, kEndOfFile or a negative errno.
long read_some(FileRecord& file, int fd, char* data, size_t length, uint64_t position) {
  constexpr int kTries = 2000;  // readers that take the window from each other
  for (int i = 0; i < kTries; ++i) {
    const local::FileSlot* slot = slot_of(file);
    long result = slot != nullptr ? read_ready(*slot, fd, data, length, position) : 0;
    if (result == 0) {
      result = fetch_and_read(file, fd, data, length, position);
    }
    if (result != 0) {
      return result;
    }
    if (i > 8) {
      long pause[2] = {0, 100'000 * (1 + i % 7)};
      raw(SYS_nanosleep, pause, nullptr);
    }
  }
  return -EIO;
}

// Fills `data`; the count, or a negative errno when nothing was read.
long read_window(FileRecord& file, int fd, char* data, size_t length, uint64_t position) {
  size_t done = 0;
  while (done < length) {
    long result = read_some(file, fd, data + done, length - done, position + done);
    if (result == kEndOfFile) {
      break;
    }
    if (result < 0) {
      return done != 0 ? static_cast<long>(done) : result;
    }
    done += static_cast<size_t>(result);
    tell_position(file, slot_of(file), position + done);
  }
  return static_cast<long>(done);
}

// Reads that share the file position take turns, for a bounded time.
class PositionLock {
 public:
  explicit PositionLock(std::atomic<uint32_t>& word) : word_(word) {
    for (int i = 0; i < 2000; ++i) {
      if (word_.exchange(1, std::memory_order_acquire) == 0) {
        return;
      }
      long pause[2] = {0, 50'000};
      raw(SYS_nanosleep, pause, nullptr);
    }
  }
  ~PositionLock() { word_.store(0, std::memory_order_release); }
  PositionLock(const PositionLock&) = delete;
  PositionLock& operator=(const PositionLock&) = delete;

 private:
  std::atomic<uint32_t>& word_;
};

ssize_t read_parts(FileRecord& file, int fd, const iovec* parts, int count, uint64_t position) {
  ssize_t done = 0;
  for (int i = 0; i < count; ++i) {
    if (parts[i].iov_len == 0) {
      continue;
    }
    long result = read_window(file, fd, static_cast<char*>(parts[i].iov_base), parts[i].iov_len,
                              position + static_cast<uint64_t>(done));
    if (result < 0) {
      return done != 0 ? done : to_errno(result);
    }
    done += result;
    if (static_cast<size_t>(result) < parts[i].iov_len) {
      break;
    }
  }
  return done;
}

ssize_t read_windowed(FileRecord& file, int fd, const iovec* parts, int count, off_t offset) {
  if (offset != kHere) {
    return read_parts(file, fd, parts, count, static_cast<uint64_t>(offset));
  }
  PositionLock lock(file.lock);
  long position = raw(SYS_lseek, fd, 0, SEEK_CUR);
  if (failed(position)) {
    return to_errno(position);
  }
  ssize_t done = read_parts(file, fd, parts, count, static_cast<uint64_t>(position));
  if (done > 0) {
    raw(SYS_lseek, fd, position + done, SEEK_SET);
  }
  return done;
}

// ---- files behind messages

// One message. A FIFO or device without bytes is asked again and again, unless it was opened without
// blocking.
int read_piece(FileRecord& file, const local::RangeRequest& request, Answer& answer) {
  RetryWait pause;
  while (true) {
    const int error =
        call({local::MessageType::kRead, &request, sizeof request, nullptr, 0, -1}, answer, EIO);
    if ((error != EAGAIN && error != kNoWriterYet) || !is_special(file)) {
      return error;
    }
    if ((file.open_flags.load(std::memory_order_relaxed) & O_NONBLOCK) != 0) {
      answer.data_size = 0;
      return error == kNoWriterYet ? 0 : error;  // nobody writes: the end, as here
    }
    if (const int interrupted = pause.wait()) {
      return interrupted;
    }
  }
}

ssize_t read_direct(FileRecord& file, const iovec* parts, int count, off_t offset) {
  ssize_t done = 0;
  for (int i = 0; i < count; ++i) {
    size_t filled = 0;
    while (filled < parts[i].iov_len) {
      iovec piece = {static_cast<char*>(parts[i].iov_base) + filled,
                     least(parts[i].iov_len - filled, local::kMaxData)};
      local::RangeRequest request = {
          file.handle, offset == kHere ? local::kAtPosition : static_cast<uint64_t>(offset + done),
          piece.iov_len, 0, 0};
      Answer answer = {nullptr, 0, &piece, 1, 0, -1, false};
      int error = read_piece(file, request, answer);
      if (error != 0) {
        return done != 0 ? done : fail_with(error);
      }
      size_t got = least(answer.data_size, piece.iov_len);
      filled += got;
      done += static_cast<ssize_t>(got);
      if (got < piece.iov_len || is_special(file)) {
        return done;
      }
    }
  }
  return done;
}

}  // namespace

ssize_t remote_readv(FileRecord& file, int fd, const iovec* parts, int count, off_t offset) {
  if (count < 0 || count > IOV_MAX || (offset != kHere && offset < 0)) {
    return fail_with(EINVAL);
  }
  if (!is_readable(file)) {
    return fail_with(EBADF);
  }
  switch (file.kind) {
    case local::FileKind::kCached:
      return file.is_whole.load(std::memory_order_acquire)
                 ? read_whole(file, fd, parts, count, offset)
                 : read_windowed(file, fd, parts, count, offset);
    case local::FileKind::kDirect:
      return read_direct(file, parts, count, offset);
    case local::FileKind::kDirectory:
      return fail_with(EISDIR);
    case local::FileKind::kStream:
    case local::FileKind::kPath:
      break;
  }
  return fail_with(EBADF);
}

uint64_t current_size(FileRecord& file) {
  local::Metadata metadata = {};
  return metadata_of(file, metadata) == 0 ? metadata.size
                                          : file.file_size.load(std::memory_order_relaxed);
}

int fetch_whole(FileRecord& file) {
  if (file.kind != local::FileKind::kCached) {
    return fail_with(ENODEV);
  }
  if (file.is_whole.load(std::memory_order_acquire)) {
    return 0;
  }
  local::HandleRequest request = {file.handle};
  local::RangeReply range = {};
  if (int error = exchange(local::MessageType::kFetchAll, request, range)) {
    return fail_with(error);
  }
  file.asked_ns.store(coarse_now_ns(), std::memory_order_relaxed);
  file.file_size.store(range.file_size, std::memory_order_relaxed);
  file.is_whole.store(true, std::memory_order_release);
  return 0;
}

int fetch_entries(FileRecord& file) {
  if (file.kind != local::FileKind::kDirectory) {
    return fail_with(ENOTDIR);
  }
  if (file.is_whole.load(std::memory_order_acquire)) {
    return 0;
  }
  local::HandleRequest request = {file.handle};
  local::RangeReply range = {};
  if (int error = exchange(local::MessageType::kList, request, range)) {
    return fail_with(error);
  }
  file.file_size.store(range.end, std::memory_order_relaxed);
  file.is_whole.store(true, std::memory_order_release);
  return 0;
}

off_t remote_seek(FileRecord& file, int fd, off_t offset, int whence) {
  switch (file.kind) {
    case local::FileKind::kPath:
      return fail_with(EBADF);
    case local::FileKind::kStream:
    case local::FileKind::kDirect: {
      local::RangeRequest request = {file.handle, static_cast<uint64_t>(offset), 0,
                                     static_cast<uint32_t>(whence), 0};
      local::CountReply reply = {};
      int error = exchange(local::MessageType::kSeek, request, reply);
      return error == 0 ? static_cast<off_t>(reply.count) : fail_with(error);
    }
    case local::FileKind::kDirectory:
      if (offset == 0 && whence == SEEK_SET) {
        file.is_whole.store(false, std::memory_order_release);  // a fresh listing
      }
      return to_errno(raw(SYS_lseek, fd, offset, whence));
    case local::FileKind::kCached:
      break;
  }
  if (whence == SEEK_SET || whence == SEEK_CUR) {
    return to_errno(raw(SYS_lseek, fd, offset, whence));
  }
  off_t size = static_cast<off_t>(current_size(file));
  if (whence == SEEK_END) {
    return to_errno(raw(SYS_lseek, fd, size + offset, SEEK_SET));
  }
  if (whence != SEEK_DATA && whence != SEEK_HOLE) {
    return fail_with(EINVAL);
  }
  if (offset < 0 || offset >= size) {
    return fail_with(ENXIO);
  }
  return to_errno(raw(SYS_lseek, fd, whence == SEEK_DATA ? offset : size, SEEK_SET));
}

}  // namespace mirrord::hook
