// applets/agent/listing.h — a directory being read, entry by entry.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "applets/agent/resolve.h"
#include "net/fd.h"
#include "proto/file.h"

namespace mirrord::agent {

// Entries come from getdents64(2) directly: their types are known without a stat each, and nothing
// fails because an entry vanishes meanwhile.
class Listing {
 public:
  // `directory` is a descriptor of its own, at its start. With `with_dots` the listing begins with
  // `.` and `..`; without, it leaves them out.
  Listing(Fd directory, bool with_dots);

  enum class State { kEntry, kEnd, kError, kWouldBlock };
  // Makes the next entry available in `entry()`. kError leaves errno. kWouldBlock: an attempt from
  // memory only, and the next entries are not there.
  State peek(Attempt attempt);
  [[nodiscard]] const proto::DirEntryInternal& entry() const { return entry_; }
  proto::DirEntryInternal take();

  // Reads the first entries now, so that they are in memory when they are asked for.
  void prefetch();

 private:
  bool fill();  // false: end or error (errno, 0 at the end)
  State load();

  Fd directory_;
  bool is_on_memory_;
  int dots_left_;
  std::unique_ptr<std::byte[]> buffer_;  // only while there are entries in it
  std::size_t at_ = 0;
  std::size_t end_ = 0;
  bool has_ended_ = false;
  bool has_entry_ = false;
  std::uint64_t position_ = 0;
  proto::DirEntryInternal entry_{};
};

}  // namespace mirrord::agent
