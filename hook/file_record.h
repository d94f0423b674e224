// hook/file_record.h — what the hook knows of one open remote file (shared by its duplicates).
#pragma once

#include "hook/libc.h"

namespace mirrord::hook {

struct Record;

struct FileRecord {
  local::Handle handle;
  local::FileKind kind;
  uint32_t slot;                     // local::kNoSlot: all bytes are in the memfd
  std::atomic<uint32_t> open_flags;  // what F_GETFL tells: access mode and status flags
  std::atomic<uint32_t> lock;        // windowed reads that share the file position
  std::atomic<bool> is_whole;        // kCached: complete; kDirectory: listed
  uint64_t opened_ns;                // when `metadata` was right
  std::atomic<uint64_t> asked_ns;    // when the end of the file was last asked for
  std::atomic<uint64_t> file_size;   // kCached: as last known
  local::Metadata metadata;          // as it was when the file was opened
  char* path;                        // directories: a path buffer, or nullptr when not known
};

// The last descriptor of the file is closed: tells the intproxy. Returns 0 or the errno of writes
// that failed late.
int file_record_closed(FileRecord& file);

}  // namespace mirrord::hook
