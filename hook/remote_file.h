// hook/remote_file.h — what calls on remote files do. Results follow the C convention: -1 and errno.
#pragma once

#include "hook/decide.h"
#include "hook/fd_table.h"
#include "hook/libc.h"

namespace mirrord::hook {

// -1 for "at the file position".
inline constexpr off_t kHere = -1;

// open: a new descriptor with its record, or -1. The target is kRemote (or kNotFound).
int remote_open(const Target& target, int flags, mode_t mode);

// A file that is read and written, opened once more for writing only, at the same position; -1 when
// that cannot be. What is written to it natively arrives.
int open_output_twin(FileRecord& file, int fd);

// read, write in all their forms.
ssize_t remote_readv(FileRecord& file, int fd, const iovec* parts, int count, off_t offset);
ssize_t remote_writev(FileRecord& file, int fd, const iovec* parts, int count, off_t offset);
off_t remote_seek(FileRecord& file, int fd, off_t offset, int whence);

// Makes the whole file lie in the descriptor's memfd: from then on every system call that only
// reads works natively. -1 and errno when it cannot (files that are written, special files).
int fetch_whole(FileRecord& file);
// Fills a directory's memfd with its entries, once.
int fetch_entries(FileRecord& file);
// Remote size as known now, asked for again after a second.
uint64_t current_size(FileRecord& file);

// Metadata of an open file, current to the second for files that are only read.
int metadata_of(FileRecord& file, local::Metadata& metadata);
int metadata_at(const Target& target, int flags, local::Metadata& metadata);

// Asks for a path's operation. `text` of a second path may follow.
int ask_path(local::MessageType type, const Target& target, local::PathRequest& request);

// The permission bits of a new file, as this process may make it.
mode_t apply_umask(mode_t mode);

int remote_sync(FileRecord& file);
int remote_truncate(FileRecord& file, off_t length);
// fallocate: only what keeps or extends the length can be done remotely.
int remote_allocate(FileRecord& file, int mode, off_t offset, off_t length);

// Access mode bits.
inline bool is_readable(const FileRecord& file) {
  return (file.open_flags.load(std::memory_order_relaxed) & O_ACCMODE) != O_WRONLY;
}
inline bool is_writable(const FileRecord& file) {
  return (file.open_flags.load(std::memory_order_relaxed) & O_ACCMODE) != O_RDONLY;
}

// What may block for as long as it likes: FIFOs, devices.
bool is_special(FileRecord& file);
// What the agent says of a read from a FIFO that nobody has opened for writing yet (towards us only:
// others see an end of file, which is what it is without blocking).
inline constexpr int kNoWriterYet = ENXIO;

// Bits that open's F_GETFL never shows.
inline constexpr int kOpenOnlyFlags = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC;

// 0 -> 0; an errno -> -1 and errno.
inline int result_of(int error) {
  return error == 0 ? 0 : fail_with(error);
}

}  // namespace mirrord::hook

// A hook on a descriptor: one load for descriptors that are nothing special, then the remote file.
#define REMOTE_FILE_OR(fd, bypass)                       \
  if (MIRRORD_LIKELY(!has_record(fd)) || !is_active()) { \
    return bypass;                                       \
  }                                                      \
  RecordRef record(fd, RecordType::kFile);               \
  if (!record) {                                         \
    return bypass;                                       \
  }
