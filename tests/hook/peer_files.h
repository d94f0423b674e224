// tests/hook/peer_files.h — the scripted peer's files: a directory served through proto/local.h.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "proto/local.h"

namespace mirrord::peer {

// One open file, shared by the processes that inherited it.
struct OpenFile {
  ~OpenFile();
  local::FileKind kind = local::FileKind::kDirect;
  int fd = -1;      // of the served file
  int memfd = -1;   // what the program holds
  int stream = -1;  // the peer's end of a written file
  uint32_t slot = local::kNoSlot;
  int write_error = 0;
};

struct Reply {
  int error = 0;
  std::string bytes;
  int descriptor = -1;  // closed after it was sent
};

// A process by its key: the handles it may use.
using Handles = std::map<local::Handle, std::shared_ptr<OpenFile>>;

struct Options {
  std::string root;        // served directory
  std::string local_root;  // where kMappedLocal leads
  uint64_t window = 0;     // files above it get a slot; 0: never
  local::FileSlot* slots = nullptr;
};

class Files {
 public:
  explicit Files(Options options) : options_(std::move(options)) {}

  // Answers one packet (after its header). The caller holds no lock.
  Reply answer(Handles& handles, local::MessageType type, const std::string& packet);

 private:
  Reply open(Handles& handles, const std::string& packet);
  Reply on_handle(OpenFile& file, local::MessageType type, const std::string& packet);
  Reply on_path(Handles& handles, local::MessageType type, const std::string& packet);
  Reply fetch(OpenFile& file, const local::RangeRequest& request);
  Reply list(OpenFile& file);
  Reply map_path(const std::string& path);
  std::string served(Handles& handles, local::Handle directory, const std::string& path);
  void drain(OpenFile& file);
  void drain_all();

  Options options_;
  std::mutex mutex_;
  local::Handle next_handle_ = 1;
  std::vector<std::weak_ptr<OpenFile>> streams_;
};

}  // namespace mirrord::peer
