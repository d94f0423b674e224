// hook/remote_write.cpp — writing remote files: into the stream that the intproxy drains, or by
// message.
#include <poll.h>
#include <sys/socket.h>

#include "hook/ipc.h"
#include "hook/patience.h"
#include "hook/remote_file.h"
#include "hook/report.h"
#include "hook/retry_wait.h"

namespace mirrord::hook {
namespace {

constexpr uint32_t kSlotWriteError = 1;  // FileSlot::flags

// An error that the agent reported for earlier bytes, once.
int deferred_error(const FileRecord& file) {
  if (file.slot == local::kNoSlot) {
    return 0;
  }
  local::FileSlot& slot = session.slots[file.slot];
  if ((__atomic_load_n(&slot.flags, __ATOMIC_ACQUIRE) & kSlotWriteError) == 0 ||
      __atomic_load_n(&slot.handle, __ATOMIC_RELAXED) != file.handle) {
    return 0;
  }
  __atomic_and_fetch(&slot.flags, ~kSlotWriteError, __ATOMIC_ACQ_REL);
  return __atomic_load_n(&slot.error, __ATOMIC_RELAXED);
}

// A slow agent may keep the stream full for long, a stopped intproxy may not.
bool wait_for_room(int fd) {
  while (true) {
    const uint32_t limit = answer_limit_ms();
    const long time[2] = {static_cast<long>(limit / 1000),
                          static_cast<long>(limit % 1000) * 1'000'000};
    pollfd entry = {fd, POLLOUT, 0};
    const long ready = raw(SYS_ppoll, &entry, 1, time, nullptr, 0);
    if (ready > 0) {
      return true;
    }
    if (ready == 0 && !answers_ping()) {
      return false;
    }
  }
}

// The intproxy drains the other end, so this waits for room at most. A regular file takes all.
ssize_t write_stream(FileRecord& file, int fd, const char* data, size_t length) {
  if (int error = deferred_error(file)) {
    return fail_with(error);
  }
  size_t done = 0;
  while (done < length) {
    long result =
        raw(SYS_sendto, fd, data + done, length - done, MSG_NOSIGNAL | MSG_DONTWAIT, nullptr, 0);
    if (result == -EINTR) {
      continue;
    }
    if (result == -EAGAIN) {
      if (!wait_for_room(fd)) {
        report_silent_session();
        return done != 0 ? static_cast<ssize_t>(done) : fail_with(EIO);
      }
      continue;
    }
    if (result == -EPIPE || result == -ECONNRESET) {
      int error = deferred_error(file);
      if (error == 0) {
        report_lost_session();
      }
      return fail_with(error != 0 ? error : EIO);
    }
    if (failed(result)) {
      return done != 0 ? static_cast<ssize_t>(done) : to_errno(result);
    }
    done += static_cast<size_t>(result);
  }
  return static_cast<ssize_t>(done);
}

// Nobody reads the FIFO any more.
void raise_broken_pipe() {
  constexpr int kSigPipe = 13;
  raw(SYS_tgkill, raw(SYS_getpid), raw(SYS_gettid), kSigPipe);
}

ssize_t write_message(FileRecord& file, const char* data, size_t length, off_t offset) {
  size_t done = 0;
  RetryWait pause;
  do {
    iovec piece = {const_cast<char*>(data + done), least(length - done, local::kMaxData)};
    local::RangeRequest request = {
        file.handle, offset == kHere ? local::kAtPosition : static_cast<uint64_t>(offset) + done,
        piece.iov_len, 0, 0};
    local::CountReply reply = {};
    Answer answer = {&reply, sizeof reply, nullptr, 0, 0, -1, false};
    int error =
        call({local::MessageType::kWrite, &request, sizeof request, &piece, 1, -1}, answer, EIO);
    const bool blocks =
        is_special(file) && (file.open_flags.load(std::memory_order_relaxed) & O_NONBLOCK) == 0;
    if (error == EAGAIN && blocks) {
      error = pause.wait();
      if (error == 0) {
        continue;
      }
    }
    if (error == EPIPE && is_special(file)) {
      raise_broken_pipe();
    }
    if (error != 0) {
      return done != 0 ? static_cast<ssize_t>(done) : fail_with(error);
    }
    done += least(static_cast<size_t>(reply.count), piece.iov_len);
    if (reply.count < piece.iov_len && !blocks) {
      break;
    }
  } while (done < length);
  return static_cast<ssize_t>(done);
}

}  // namespace

ssize_t remote_writev(FileRecord& file, int fd, const iovec* parts, int count, off_t offset) {
  if (count < 0 || count > IOV_MAX || (offset != kHere && offset < 0)) {
    return fail_with(EINVAL);
  }
  if (!is_writable(file) || file.kind == local::FileKind::kPath) {
    return fail_with(EBADF);
  }
  ssize_t done = 0;
  for (int i = 0; i < count; ++i) {
    const char* data = static_cast<const char*>(parts[i].iov_base);
    if (parts[i].iov_len == 0) {
      continue;
    }
    ssize_t result =
        file.kind == local::FileKind::kStream && offset == kHere
            ? write_stream(file, fd, data, parts[i].iov_len)
            : write_message(file, data, parts[i].iov_len, offset == kHere ? kHere : offset + done);
    if (result < 0) {
      return done != 0 ? done : result;
    }
    done += result;
    if (static_cast<size_t>(result) < parts[i].iov_len) {
      break;
    }
  }
  return done;
}

}  // namespace mirrord::hook
