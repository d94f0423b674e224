// hook/remote_open.cpp — opens remote files: asks, then gives the descriptor its record.
#include <sys/mman.h>

#include "hook/ipc.h"
#include "hook/remote_file.h"
#include "hook/retry_wait.h"

namespace mirrord::hook {
namespace {

// The umask, without the race of setting it: the line "Umask:\t0022" of /proc/self/status.
mode_t current_umask() {
  char text[512];
  long fd = raw(SYS_openat, AT_FDCWD, "/proc/self/status", O_RDONLY | O_CLOEXEC, 0);
  long size = failed(fd) ? 0 : raw(SYS_read, fd, text, sizeof text - 1);
  if (!failed(fd)) {
    raw(SYS_close, fd);
  }
  text[failed(size) ? 0 : size] = '\0';
  const char* at = strstr(text, "Umask:\t");
  mode_t mask = 0;
  if (at == nullptr) {
    return 022;
  }
  for (at += 7; *at >= '0' && *at <= '7'; ++at) {
    mask = mask * 8 + static_cast<mode_t>(*at - '0');
  }
  return mask;
}

void close_handle(const local::OpenReply& reply, int flags) {
  local::HandleRequest message = {reply.handle};
  if ((flags & O_ACCMODE) == O_RDONLY) {
    notify({local::MessageType::kClose, &message, sizeof message, nullptr, 0, -1});
  } else {
    (void)ask(local::MessageType::kClose, message);
  }
}

// A descriptor for a file that came without one.
int make_placeholder() {
  return static_cast<int>(raw(SYS_memfd_create, "mirrord", 1 /* MFD_CLOEXEC */));
}

// Paths relative to a directory are decided by its own; a direct file may be opened once more for
// a standard descriptor.
void keep_path(FileRecord& file, const Target& target) {
  if (file.kind == local::FileKind::kCached || file.kind == local::FileKind::kStream) {
    return;
  }
  file.path = take_path_buffer();
  if (file.path != nullptr && target.copy_absolute(file.path) == 0) {
    give_path_buffer(file.path);
    file.path = nullptr;
  }
}

void fill_record(FileRecord& file, const local::OpenReply& reply, int flags) {
  file.handle = reply.handle;
  file.kind = reply.kind;
  file.slot = reply.slot < local::kSlotCount ? reply.slot : local::kNoSlot;
  file.open_flags.store(static_cast<uint32_t>(flags & ~kOpenOnlyFlags), std::memory_order_relaxed);
  file.is_whole.store(reply.kind == local::FileKind::kCached && reply.slot == local::kNoSlot,
                      std::memory_order_relaxed);
  file.opened_ns = coarse_now_ns();
  file.asked_ns.store(file.opened_ns, std::memory_order_relaxed);
  file.file_size.store(reply.metadata.size, std::memory_order_relaxed);
  file.metadata = reply.metadata;
}

bool is_fifo_at(const Target& target) {
  local::Metadata metadata = {};
  return metadata_at(target, 0, metadata) == 0 && S_ISFIFO(metadata.mode);
}

// Asks for the file. A FIFO that nobody reads is opened for writing as soon as somebody does.
int ask_open(const Target& target, const local::OpenRequest& open, Answer& answer) {
  iovec path = {const_cast<char*>(target.path()), target.length()};
  RetryWait pause;
  bool is_fifo = false;
  while (true) {
    const int error =
        call({local::MessageType::kOpen, &open, sizeof open, &path, 1, -1}, answer, EIO);
    const bool may_wait =
        (open.flags & O_ACCMODE) == O_WRONLY && (open.flags & O_NONBLOCK) == 0 && error == ENXIO;
    is_fifo = is_fifo || (may_wait && is_fifo_at(target));
    if (!may_wait || !is_fifo) {
      return error;
    }
    if (const int interrupted = pause.wait()) {
      return interrupted;
    }
  }
}

// Opening a FIFO for reading waits until somebody has opened it for writing. Returns 0 or EINTR.
int wait_for_writer(const local::OpenReply& reply, int flags) {
  if (!S_ISFIFO(reply.metadata.mode) || (flags & (O_ACCMODE | O_NONBLOCK | O_PATH)) != O_RDONLY) {
    return 0;
  }
  const local::RangeRequest nothing = {reply.handle, local::kAtPosition, 0, 0, 0};
  RetryWait pause;
  while (true) {
    Answer answer;
    const int error =
        call({local::MessageType::kRead, &nothing, sizeof nothing, nullptr, 0, -1}, answer, EIO);
    if (error != kNoWriterYet) {
      return 0;  // whatever it is, the first read will tell
    }
    if (const int interrupted = pause.wait()) {
      return interrupted;
    }
  }
}

}  // namespace

mode_t apply_umask(mode_t mode) {
  return mode & ~current_umask() & 07777;
}

int remote_open(const Target& target, int flags, mode_t mode) {
  if (int error = target.early_error()) {
    return fail_with(error);
  }
  local::OpenRequest open = {target.directory(), static_cast<uint32_t>(flags), 0};
  if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) {
    open.mode = apply_umask(mode);
  }
  local::OpenReply reply = {};
  Answer answer = {&reply, sizeof reply, nullptr, 0, 0, -1, true};
  int error = ask_open(target, open, answer);
  if (error == 0) {
    error = wait_for_writer(reply, flags);
    if (error != 0) {
      close_handle(reply, flags);
    }
  }
  if (error != 0) {
    if (answer.descriptor >= 0) {
      raw(SYS_close, answer.descriptor);
    }
    return fail_with(error);
  }
  int fd = answer.descriptor >= 0 ? answer.descriptor : make_placeholder();
  Record* record = fd >= 0 ? allocate_record(RecordType::kFile) : nullptr;
  if (record == nullptr) {
    close_handle(reply, flags);
    if (fd >= 0) {
      raw(SYS_close, fd);
    }
    return fail_with(fd < 0 ? EMFILE : ENOMEM);
  }
  fill_record(record->file, reply, flags);
  keep_path(record->file, target);
  if ((flags & O_CLOEXEC) == 0) {
    raw(SYS_fcntl, fd, F_SETFD, 0);
  }
  attach(fd, record);
  return fd;
}

int open_output_twin(FileRecord& file, int fd) {
  if (file.kind != local::FileKind::kDirect || file.path == nullptr || !is_writable(file)) {
    return -1;
  }
  Target target(file.path, true);
  uint32_t append = file.open_flags.load(std::memory_order_relaxed) & O_APPEND;
  int twin = target.kind() == Target::kRemote
                 ? remote_open(target, O_WRONLY | O_CLOEXEC | static_cast<int>(append), 0)
                 : -1;
  if (twin >= 0 && append == 0) {
    off_t position = remote_seek(file, fd, 0, SEEK_CUR);
    RecordRef record(twin, RecordType::kFile);
    if (record && position > 0) {
      remote_seek(record->file, twin, position, SEEK_SET);
    }
  }
  return twin;
}

}  // namespace mirrord::hook
