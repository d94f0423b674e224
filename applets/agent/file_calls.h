// applets/agent/file_calls.h — carries out one client's file requests, and owns what it has opened.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "applets/agent/listing.h"
#include "applets/agent/resolve.h"
#include "applets/agent/target.h"
#include "net/fd.h"
#include "net/payload_pipe.h"
#include "proto/file.h"

namespace mirrord::agent {

// Not thread-safe, but not bound to a thread: Files lets one thread at a time in.
class FileCalls {
 public:
  explicit FileCalls(const Target& target)
      : root_(target.root.get()), opening_waits_(is_served_elsewhere(root_)) {}

  enum class Outcome {
    kReply,
    kNoReply,     // Close and CloseDir have none
    kWouldBlock,  // only for Attempt::kCached: nothing has happened, try again with kBlocking
  };
  Outcome execute(proto::FileRequest& request, Attempt attempt, proto::FileResponse& response);

  // From now on every open request takes a descriptor number, successful or not, so that the client
  // knows it before the answer.
  void number_all_opens() { numbers_all_opens_ = true; }
  // The same clients repeat what would block on a FIFO or a device; for others it waits a moment.
  [[nodiscard]] bool client_repeats() const { return numbers_all_opens_; }

  // The payload of the read that has just been carried out from memory, if it lies in a pipe: then
  // its response has none.
  net::LeasedPipe take_pipe() { return std::move(piped_); }

  // Most bytes that one read returns.
  static constexpr std::uint64_t kMaxRead = 1 << 20;

 private:
  enum class Kind { kRegular, kDirectory, kOther };
  struct Open {
    Fd fd;  // closed in a listing's own entry
    Kind kind = Kind::kOther;
    bool is_fifo = false;
    bool takes_nowait = true;       // until RWF_NOWAIT is refused
    std::optional<bool> on_memory;  // once asked for
    bool is_append = false;
    bool was_written = false;
    std::optional<bool> is_local;  // written to the page cache of this machine; once asked for
    std::chrono::steady_clock::time_point slow_until{};  // writes have waited for a disk lately
    std::int64_t size = -1;                              // of a regular file, when it was opened
    std::int64_t position = 0;                           // of the next Read; -1: not known
    std::unique_ptr<Listing> listing;
    bool is_listing = false;  // a directory stream made by FdOpenDir
  };
  template <class T>
  using Res = proto::Res<T>;

  Open* find(std::uint64_t fd);
  Res<Open*> file(std::uint64_t fd);
  Res<Open*> directory(std::uint64_t fd);
  Res<Open*> file_or_directory(std::uint64_t fd);
  Res<Open*> listing(std::uint64_t fd);
  // Whether a call on it may have to wait although only memory is allowed; notes that it does.
  bool must_wait(Open& open, Attempt attempt);
  // The same for writing: whole pages of a local file only go into memory, as a rule.
  bool must_wait_to_write(Open& open, std::size_t size, std::int64_t offset, Attempt attempt);

  Fd open_path(int base, const std::string& path, int flags, mode_t mode, Attempt attempt);
  Place parent_of(int base, const std::string& path, Attempt attempt);

  Res<proto::OpenFileResponse> open(int base, const std::string& path,
                                    const proto::OpenOptionsInternal& options, Attempt attempt);
  Res<proto::OpenFileResponse> open_relative(const proto::OpenRelativeFileRequest& request,
                                             Attempt attempt);
  Res<proto::OpenDirResponse> open_directory(std::uint64_t fd, Attempt attempt);
  template <class T>
  Res<T> number_open(Res<T> result);
  std::uint64_t insert(Open open);

  Res<proto::ReadFileResponse> read(std::uint64_t fd, std::uint64_t size, std::int64_t offset,
                                    Attempt attempt);
  bool read_by_pipe(Open& open, std::uint64_t size, std::int64_t offset, std::uint64_t& amount);
  Res<proto::WriteFileResponse> write(std::uint64_t fd, const proto::Payload& bytes,
                                      std::int64_t offset, Attempt attempt);
  Res<proto::SeekFileResponse> seek(const proto::SeekFileRequest& request);
  Res<proto::AccessFileResponse> access(const proto::AccessFileRequest& request, Attempt attempt);
  Res<proto::XstatResponse> stat(const proto::XstatRequest& request, Attempt attempt);
  Res<proto::ReadLinkFileResponse> read_link(const std::string& path, Attempt attempt);
  Res<proto::FsMetadataInternalV2> stat_fs(std::uint64_t fd, Attempt attempt);
  Res<proto::FsMetadataInternalV2> stat_fs(Open& open, Attempt attempt);
  Res<proto::FsMetadataInternalV2> stat_fs(const std::string& path, Attempt attempt);

  Res<proto::Unit> make_dir(int base, const std::string& path, std::uint32_t mode, Attempt attempt);
  Res<proto::Unit> remove(int base, const std::string& path, int flags, Attempt attempt);
  Res<proto::Unit> unlink_at(const proto::UnlinkAtRequest& request, Attempt attempt);
  Res<proto::Unit> rename(const proto::RenameRequest& request, Attempt attempt);

  Res<proto::ReadDirResponse> read_dir(std::uint64_t fd, Attempt attempt);
  Res<proto::ReadDirBatchResponse> read_dir_batch(const proto::ReadDirBatchRequest& request,
                                                  Attempt attempt);
  Res<proto::GetDEnts64Response> get_dents(const proto::GetDEnts64Request& request,
                                           Attempt attempt);
  void close(std::uint64_t fd, Attempt attempt);
  void close_listing(std::uint64_t fd);

  friend struct FileDispatch;

  int root_;
  bool opening_waits_;  // the root is, for example, on fuse-overlayfs
  std::unordered_map<std::uint64_t, Open> open_;
  std::uint64_t next_fd_ = 0;
  std::atomic<bool> numbers_all_opens_ = false;  // set by the loop, read by whoever has the calls
  net::PipePool pipes_;                          // used on the loop's thread only
  net::LeasedPipe piped_;
  bool would_block_ = false;  // set by a call that found out that it has to wait
};

}  // namespace mirrord::agent
