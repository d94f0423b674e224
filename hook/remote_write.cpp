// hook/remote_write.cpp — writing remote files: into the stream that the intproxy drains, or by
// message.
#include <sys/socket.h>

#include "hook/ipc.h"
#include "hook/remote_file.h"
#include "hook/report.h"

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

// The intproxy drains the other end, so this waits for room at most. A regular file takes all.
ssize_t write_stream(FileRecord& file, int fd, const char* data, size_t length) {
  if (int error = deferred_error(file)) {
    return fail_with(error);
  }
  size_t done = 0;
  while (done < length) {
    long result = raw(SYS_sendto, fd, data + done, length - done, MSG_NOSIGNAL, nullptr, 0);
    if (result == -EINTR) {
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

ssize_t write_message(FileRecord& file, const char* data, size_t length, off_t offset) {
  size_t done = 0;
  do {
    iovec piece = {const_cast<char*>(data + done), least(length - done, local::kMaxData)};
    local::RangeRequest request = {
        file.handle, offset == kHere ? local::kAtPosition : static_cast<uint64_t>(offset) + done,
        piece.iov_len, 0, 0};
    local::CountReply reply = {};
    Answer answer = {&reply, sizeof reply, nullptr, 0, 0, -1, false};
    int error =
        call({local::MessageType::kWrite, &request, sizeof request, &piece, 1, -1}, answer, EIO);
    if (error != 0) {
      return done != 0 ? static_cast<ssize_t>(done) : fail_with(error);
    }
    done += least(static_cast<size_t>(reply.count), piece.iov_len);
    if (reply.count < piece.iov_len) {
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
