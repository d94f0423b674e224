// applets/intproxy/files.h — remote files of a session: which are open, and every file message.
//
// files.cpp           the table of open files, who holds them, fork and end of processes
// files_open.cpp      kOpen: one flight towards our own agents, at most three trips to others
// files_write.cpp     kRead, kWrite, kSeek, streams and errors that come after the acknowledgement
// files_list.cpp      kList
// files_metadata.cpp  metadata of handles and paths, and what changes it
// files_paths.cpp     the other requests by path
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "applets/intproxy/cached_content.h"
#include "applets/intproxy/remote_file.h"
#include "applets/intproxy/session.h"
#include "applets/intproxy/slots.h"
#include "applets/intproxy/stat_ahead.h"
#include "applets/intproxy/stream_writer.h"

namespace mirrord::intproxy {

struct Opening;        // files_open.cpp
struct DirectoryRead;  // files_list.cpp

class Files : public Part {
 public:
  explicit Files(Session& session);
  ~Files() override;

  void process_ended(Process& process) override;
  void process_forked(Process& parent, Process& child) override;
  void agent_lost(const Error& why) override;
  void agent_interrupted(Losses& losses) override;
  void agent_restored(const AgentLink::Restored& restored, Losses& losses) override;
  bool has_unfinished_work() override;

  [[nodiscard]] std::size_t open_files() const { return files_.size(); }
  [[nodiscard]] CachedContent::Limits& cache_limits() { return limits_; }

 private:
  using FilePtr = std::shared_ptr<RemoteFile>;
  using FileHandler = void (Files::*)(Process&, const FilePtr&, Request&, Call);

  // ---- dispatch: streams are drained before any request is looked at
  void on_path(local::MessageType type,
               void (Files::*handler)(const local::PathRequest&, std::string, Request&, Call));
  template <class T>
  void on_handle(local::MessageType type,
                 void (Files::*handler)(const FilePtr&, const T&, Request&, Call));
  FilePtr find(Process& process, local::Handle handle);
  std::expected<std::string, int> resolve(Process& process, local::Handle directory,
                                          std::string_view path);

  // ---- the table
  FilePtr add_file();
  void release(const FilePtr& file);  // one process has let go
  void destroy_if_unused(const FilePtr& file);
  void close_handle(Process& process, Request&& request, Call call);
  // The session has changed something: what was asked for ahead is void.
  void note_change();
  void note_write(const RemoteFile& file);

  // ---- open
  void open(Process& process, Request&& request, Call call);
  void open_path_only(std::shared_ptr<Opening> opening);
  void check_link_first(std::shared_ptr<Opening> opening);
  void open_in_flight(const std::shared_ptr<Opening>& opening);
  void open_stepwise(const std::shared_ptr<Opening>& opening, bool must_create);
  void ask_metadata(const std::shared_ptr<Opening>& opening);
  void on_opened(const std::shared_ptr<Opening>& opening,
                 proto::Res<proto::OpenFileResponse> reply);
  void finish_open(const std::shared_ptr<Opening>& opening);
  void finish_cached(const std::shared_ptr<Opening>& opening, const FilePtr& file);
  void read_unknown_size(const std::shared_ptr<Opening>& opening, const FilePtr& file);
  void begin_cached(const std::shared_ptr<Opening>& opening, const FilePtr& file,
                    std::span<const std::byte> bytes, std::uint64_t size);
  void answer_open(const std::shared_ptr<Opening>& opening, const FilePtr& file, int descriptor);
  void answer_placeholder(const std::shared_ptr<Opening>& opening, const FilePtr& file);

  // ---- reading and writing
  void fetch(const FilePtr& file, const local::RangeRequest& range, Request&, Call call);
  void fetch_all(const FilePtr& file, const local::HandleRequest&, Request&, Call call);
  void nudge(const FilePtr& file, const local::RangeRequest&, Request&, Call call);
  void read(const FilePtr& file, const local::RangeRequest& range, Request&, Call call);
  void write(const FilePtr& file, const local::RangeRequest& range, Request& request, Call call);
  void seek(const FilePtr& file, const local::RangeRequest& range, Request&, Call call);
  void sync(const FilePtr& file, const local::HandleRequest&, Request&, Call call);
  void truncate(const FilePtr& file, const local::RangeRequest& range, Request&, Call call);
  void seek_on_agent(const FilePtr& file, int whence, std::int64_t offset, Call call);
  void seek_by_size(const FilePtr& file, int whence, std::int64_t offset, Call call);
  void write_stream(const FilePtr& file, proto::Bytes&& bytes);
  void stream_ended(const FilePtr& file);
  // Sends a write; `offset` none: at the agent's own position.
  void send_write(const FilePtr& file, std::optional<std::uint64_t> offset, proto::Bytes&& bytes,
                  std::optional<Call> call);
  void on_written(const FilePtr& file, std::optional<std::uint64_t> offset, std::size_t asked,
                  const proto::Bytes& kept, std::optional<Call> call,
                  proto::Res<proto::WriteFileResponse> reply);
  void when_written(const FilePtr& file, Call call);
  void report_write_error(RemoteFile& file, int error_number);

  // ---- directories
  void list(const FilePtr& file, const local::HandleRequest&, Request&, Call call);
  void begin_list(const std::shared_ptr<DirectoryRead>& reading);
  void read_directory(const std::shared_ptr<DirectoryRead>& reading);
  void request_batch(const std::shared_ptr<DirectoryRead>& reading);
  void request_entry(const std::shared_ptr<DirectoryRead>& reading);
  void list_failed(const std::shared_ptr<DirectoryRead>& reading, int attempt,
                   const proto::ResponseError& error);
  void fail_list(DirectoryRead& reading, int error_number);
  void finish_list(const std::shared_ptr<DirectoryRead>& reading);

  // ---- metadata
  void stat_handle(const FilePtr& file, const local::HandleRequest&, Request&, Call call);
  void statfs_handle(const FilePtr& file, const local::HandleRequest&, Request&, Call call);
  void set_mode(const FilePtr& file, const local::AttributeRequest& request, Request&, Call call);
  void set_owner(const FilePtr& file, const local::AttributeRequest& request, Request&, Call call);
  void set_times(const FilePtr& file, const local::AttributeRequest& request, Request&, Call call);
  void stat(const local::PathRequest& request, std::string path, Request&, Call call);
  void statfs(const local::PathRequest& request, std::string path, Request&, Call call);
  // Opens the path, runs one request on it that names its descriptor, closes it.
  using ChangeMaker = std::move_only_function<proto::FileRequest(std::uint64_t fd)>;
  template <proto::FixedString Name>
  void change_by_path(std::string path, bool for_writing, bool not_followed, Call call,
                      ChangeMaker make);
  void set_mode_path(const local::PathRequest& request, std::string path, Request&, Call call);
  void set_owner_path(const local::PathRequest& request, std::string path, Request&, Call call);
  void set_times_path(const local::PathRequest& request, std::string path, Request&, Call call);
  void truncate_path(const local::PathRequest& request, std::string path, Request&, Call call);

  // ---- paths
  void access(const local::PathRequest& request, std::string path, Request&, Call call);
  void read_link(const local::PathRequest& request, std::string path, Request&, Call call);
  void make_directory(const local::PathRequest& request, std::string path, Request&, Call call);
  void unlink(const local::PathRequest& request, std::string path, Request&, Call call);
  void rename(Process& process, Request&& request, Call call);
  void map_path(Process& process, Request&& request, Call call);
  void host_name(Process& process, Request&& request, Call call);

  Session& session_;
  AgentLink& agent_;
  net::Loop& loop_;
  Slots slots_;
  CachedContent::Limits limits_;
  std::uint64_t small_file_;  // read with the open; 0: nothing is cached
  StatAhead stat_ahead_;
  StreamSet streams_;
  local::Handle next_handle_ = 1;
  std::unordered_map<local::Handle, FilePtr> files_;
  // Files with contents here, by (device, inode): they change when the session writes to them.
  std::multimap<std::pair<std::uint64_t, std::uint64_t>, RemoteFile*> cached_by_inode_;
  // Calls that wait until a file's writes are answered (close, sync).
  std::unordered_map<local::Handle, std::vector<Call>> waiting_for_writes_;
  std::optional<std::string> host_name_;
};

// An anonymous file for a program; `access`: O_RDONLY, O_WRONLY or O_RDWR as the program asked.
Fd make_memory(std::string_view path);
Fd reopen_memory(int memory, int access);
// Answers a call with nothing but success or the reply's error.
template <class T>
auto answer_status(Call call) {
  return [call = std::move(call)](proto::Res<T> reply) mutable {
    if (reply) {
      call.succeed();
    } else {
      call.fail(errno_of(reply.error()));
    }
  };
}

}  // namespace mirrord::intproxy
