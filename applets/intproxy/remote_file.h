// applets/intproxy/remote_file.h — one open file of the agent, shared by the processes that hold
// its handle.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "net/fd.h"
#include "proto/local.h"

namespace mirrord::intproxy {

class CachedContent;
class StreamWriter;
struct DirectoryRead;

struct RemoteFile {
  // Defined where the two members are complete.
  RemoteFile();
  ~RemoteFile();

  local::Handle handle = 0;
  local::FileKind kind = local::FileKind::kDirect;
  std::string path;                        // absolute, as the program named it
  std::optional<std::uint64_t> remote_fd;  // none: kPath
  bool is_readable = false;
  bool is_writable = false;
  bool is_append = false;
  bool is_regular = false;
  bool is_cut_off = false;    // written to when the connection broke: invalid at the agent
  bool follows_links = true;  // opened without O_NOFOLLOW
  std::uint32_t slot = local::kNoSlot;
  int owners = 0;  // processes that hold the handle

  local::Metadata metadata{};        // as of the open
  std::uint64_t metadata_at_ms = 0;  // when it came; 0: used up

  std::shared_ptr<CachedContent> cached;  // kCached
  std::unique_ptr<StreamWriter> stream;   // kStream
  Fd memory;                              // kDirectory: the listing

  // Writes that were acknowledged before the agent has answered (kDirect, and kStream).
  std::size_t unanswered_bytes = 0;
  std::size_t unanswered_writes = 0;
  int write_error = 0;  // of one of them, not told yet

  std::weak_ptr<DirectoryRead> listing;  // while one is under way
};

}  // namespace mirrord::intproxy
