// hook/descriptors.cpp — the hooks that close, copy and control descriptors.
#include <stdarg.h>
#include <sys/file.h>
#include <sys/ioctl.h>

#include "hook/ipc.h"
#include "hook/original.h"
#include "hook/remote_file.h"
#include "hook/report.h"

using namespace mirrord::hook;

namespace {

// Forgets what the hook knows of a descriptor that is about to be closed or replaced. Returns the
// errno of writes that failed late.
int forget(int fd) {
  Record* record = detach(fd);
  return record != nullptr ? release_record(record) : 0;
}

// Calls close_range around the hook's own descriptors.
int close_between(unsigned first, unsigned last, int flags) {
  unsigned at = first;
  while (at <= last) {
    int own = at <= INT_MAX ? next_own_descriptor(static_cast<int>(at)) : -1;
    unsigned end = own >= 0 && static_cast<unsigned>(own) <= last ? static_cast<unsigned>(own) : 0;
    unsigned stop = end != 0 ? end - 1 : last;
    if (at <= stop) {
      long result = raw(SYS_close_range, at, stop, flags);
      if (failed(result)) {
        return static_cast<int>(to_errno(result));
      }
    }
    if (end == 0) {
      return 0;
    }
    at = end + 1;
  }
  return 0;
}

int close_descriptors(unsigned first, unsigned last, int flags) {
  constexpr int kOnlyCloseOnExec = 4;  // CLOSE_RANGE_CLOEXEC
  if (first <= last && (flags & kOnlyCloseOnExec) == 0) {
    unsigned end = static_cast<unsigned>(fd_table_end.load(std::memory_order_relaxed));
    for (unsigned fd = first; fd <= last && fd < end; ++fd) {
      forget(static_cast<int>(fd));
    }
  }
  return first > last ? fail_with(EINVAL) : close_between(first, last, flags);
}

// The C library's own streams on the standard descriptors read and write natively: the file must
// allow that. Returns a descriptor to use instead, or -1.
int prepare_standard(int fd, int standard) {
  SavedErrno saved;
  RecordRef record(fd, RecordType::kFile);
  if (!record) {
    return -1;
  }
  if (record->file.kind == mirrord::local::FileKind::kCached) {
    (void)fetch_whole(record->file);
  }
  return standard == STDIN_FILENO ? -1 : open_output_twin(record->file, fd);
}

// What the C library writes natively to a FIFO of the target would be lost without a word.
bool takes_no_native_output(int fd) {
  RecordRef record(fd, RecordType::kFile);
  return record && record->file.kind == mirrord::local::FileKind::kDirect &&
         S_ISFIFO(record->file.metadata.mode) && is_writable(record->file);
}

int duplicate(int from, int to, int flags, bool is_dup3) {
  if (is_own_descriptor(from)) {
    return fail_with(EBADF);
  }
  if ((to == STDOUT_FILENO || to == STDERR_FILENO) && from != to && has_record(from) &&
      takes_no_native_output(from)) {
    return fail_with(EOPNOTSUPP);
  }
  if (from != to && is_own_descriptor(to)) {
    yield_own_descriptor(to);
  }
  int twin =
      to <= STDERR_FILENO && from != to && has_record(from) ? prepare_standard(from, to) : -1;
  if (twin >= 0) {
    int result = duplicate(twin, to, flags, is_dup3);
    SavedErrno saved;
    hk_close(twin);
    return result;
  }
  int result = is_dup3 ? ORIGINAL(dup3)(from, to, flags) : ORIGINAL(dup2)(from, to);
  if (result >= 0) {
    share_record(from, to);
  }
  return result;
}

// Locks on remote files are granted but exist here only: the protocol has none, and programs that
// lock what nobody else uses (databases, package tools) would not work without. The session's log
// says so.
void note_lock() {
  static std::atomic<bool> noted{false};
  if (noted.exchange(true)) {
    return;
  }
  TextBuffer<160> text;
  text.text(session.program).text(" locks remote files: other processes do not see these locks");
  tell_log(mirrord::local::MessageType::kLog, text.c_str(), text.size());
}

int lock_command(int command, struct flock* lock) {
  if (lock == nullptr) {
    return fail_with(EFAULT);
  }
  if (command == F_GETLK || command == F_OFD_GETLK) {
    lock->l_type = F_UNLCK;
    return 0;
  }
  note_lock();
  return 0;
}

int control_remote(FileRecord& file, int fd, int command, void* argument) {
  switch (command) {
    case F_GETFL:
      return static_cast<int>(file.open_flags.load(std::memory_order_relaxed));
    case F_SETFL: {
      constexpr uint32_t kChangeable = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME;
      uint32_t wanted = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(argument));
      uint32_t old = file.open_flags.load(std::memory_order_relaxed);
      if (((wanted ^ old) & O_APPEND) != 0 && is_writable(file)) {
        return fail_with(EOPNOTSUPP);  // the position of writes is the target's affair
      }
      file.open_flags.store((old & ~kChangeable) | (wanted & kChangeable));
      return 0;
    }
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
      return lock_command(command, static_cast<struct flock*>(argument));
    case F_SETLEASE:
    case F_NOTIFY:
    case F_ADD_SEALS:
    case F_SETPIPE_SZ:
      return fail_with(EINVAL);
    default:
      return ORIGINAL(fcntl)(fd, command, argument);
  }
}

int control_file(int fd, int command, void* argument) {
  if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) {
    int copy = ORIGINAL(fcntl)(fd, command, argument);
    if (copy >= 0) {
      share_record(fd, copy);
    }
    return copy;
  }
  RecordRef record(fd, RecordType::kFile);
  return record ? control_remote(record->file, fd, command, argument)
                : ORIGINAL(fcntl)(fd, command, argument);
}

// FIONREAD on a remote file: what is left of it.
int bytes_left(FileRecord& file, int fd, int* left) {
  off_t position = remote_seek(file, fd, 0, SEEK_CUR);
  if (position < 0) {
    return -1;
  }
  uint64_t size = current_size(file);
  uint64_t at = static_cast<uint64_t>(position);
  *left = static_cast<int>(size > at ? least(size - at, uint64_t{INT_MAX}) : 0);
  return 0;
}

}  // namespace

extern "C" {

int hk_close(int fd) {
  if (MIRRORD_UNLIKELY(!is_active())) {
    return ORIGINAL(close)(fd);
  }
  if (MIRRORD_UNLIKELY(is_own_descriptor(fd))) {
    return fail_with(EBADF);
  }
  // First the record, then the number: another thread may get it at once.
  Record* record = detach(fd);
  int result = ORIGINAL(close)(fd);
  if (record != nullptr) {
    int error = release_record(record);
    if (error != 0 && result == 0) {
      return fail_with(error);
    }
  }
  return result;
}

int hk_close_range(unsigned first, unsigned last, int flags) {
  return is_active() ? close_descriptors(first, last, flags)
                     : ORIGINAL(close_range)(first, last, flags);
}

void hk_closefrom(int first) {
  if (!is_active()) {
    ORIGINAL(closefrom)(first);
    return;
  }
  close_descriptors(first < 0 ? 0 : static_cast<unsigned>(first), ~0U, 0);
}

int hk_dup(int fd) {
  if (is_active() && is_own_descriptor(fd)) {
    return fail_with(EBADF);
  }
  int copy = ORIGINAL(dup)(fd);
  if (copy >= 0 && is_active()) {
    share_record(fd, copy);
  }
  return copy;
}

int hk_dup2(int from, int to) {
  return is_active() ? duplicate(from, to, 0, false) : ORIGINAL(dup2)(from, to);
}

int hk_dup3(int from, int to, int flags) {
  return is_active() ? duplicate(from, to, flags, true) : ORIGINAL(dup3)(from, to, flags);
}

int hk_fcntl(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  if (MIRRORD_LIKELY(!has_record(fd)) || !is_active()) {
    return ORIGINAL(fcntl)(fd, command, argument);
  }
  return control_file(fd, command, argument);
}

int hk_ioctl(int fd, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  REMOTE_FILE_OR(fd, ORIGINAL(ioctl)(fd, request, argument))
  switch (static_cast<uint32_t>(request)) {  // musl sign-extends
    case FIONREAD:
      return bytes_left(record->file, fd, static_cast<int*>(argument));
    case FIOCLEX:
    case FIONCLEX:
      return ORIGINAL(ioctl)(fd, request, argument);
    case FIONBIO:
      return 0;
    default:
      return fail_with(ENOTTY);
  }
}

int hk_flock(int fd, int operation) {
  REMOTE_FILE_OR(fd, ORIGINAL(flock)(fd, operation))
  note_lock();
  return (operation & ~(LOCK_SH | LOCK_EX | LOCK_UN | LOCK_NB)) != 0 ? fail_with(EINVAL) : 0;
}

int hk_lockf(int fd, int command, off_t length) {
  REMOTE_FILE_OR(fd, ORIGINAL(lockf)(fd, command, length))
  note_lock();
  return 0;
}

}  // extern "C"
