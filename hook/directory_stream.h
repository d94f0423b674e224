// hook/directory_stream.h — DIR for remote directories.
#pragma once

#include "hook/fd_table.h"
#include "hook/libc.h"

namespace mirrord::hook {

// getdents64 on a remote directory: whole records, from the descriptor's position on.
long remote_entries(FileRecord& file, int fd, void* data, size_t size);

// What a DIR* of ours points to. All lie in one range of addresses, so that a foreign DIR* is
// recognised by two comparisons.
struct DirectoryStream {
  int fd;
  uint32_t next_free;
  size_t at, end;    // unread records in `data`
  off_t data_start;  // where `data` begins in the memfd
  alignas(8) char data[32 * 1024];
};

bool is_ours(const DIR* stream);
// Takes the descriptor, which has a directory's record; nullptr and errno otherwise.
DIR* make_stream(int fd);

}  // namespace mirrord::hook
