// applets/intproxy/files.cpp — dispatch of file messages, the table of open files and its owners.
#include "applets/intproxy/files.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "proto/text.h"

namespace mirrord::intproxy {
namespace {

constexpr std::size_t kMaxName = 200;  // of a memfd, for /proc/PID/fd

}  // namespace

RemoteFile::RemoteFile() = default;
RemoteFile::~RemoteFile() = default;

Fd make_memory(std::string_view path) {
  const std::string name = "mirrord:" + std::string(path.substr(0, kMaxName));
  return Fd(::memfd_create(name.c_str(), MFD_CLOEXEC));
}

// A descriptor of its own with the access mode that the program asked for. Without /proc it is the
// intproxy's own, which allows more than it should.
Fd reopen_memory(int memory, int access) {
  std::array<char, 32> path;
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", memory);
  Fd opened(::open(path.data(), access | O_CLOEXEC));
  if (!opened.is_open()) {
    opened.reset(::fcntl(memory, F_DUPFD_CLOEXEC, 0));
  }
  return opened;
}

Files::Files(Session& session)
    : session_(session),
      agent_(session.agent()),
      loop_(session.loop()),
      slots_(session.slots()),
      small_file_(session.options().readonly_file_buffer),
      stat_ahead_(loop_, agent_),
      streams_(loop_,
               {.write = [this](const FilePtr& file,
                                proto::Bytes&& bytes) { write_stream(file, std::move(bytes)); },
                .ended = [this](const FilePtr& file) { stream_ended(file); }}) {
  using local::MessageType;
  limits_.first_window = std::max<std::uint64_t>(small_file_, 4096);
  session_.handle(MessageType::kOpen, [this](Process& process, Request&& request, Call call) {
    streams_.drain_all();
    open(process, std::move(request), std::move(call));
  });
  session_.handle(MessageType::kClose, [this](Process& process, Request&& request, Call call) {
    streams_.drain_all();
    close_handle(process, std::move(request), std::move(call));
  });
  on_handle(MessageType::kFetch, &Files::fetch);
  on_handle(MessageType::kFetchAll, &Files::fetch_all);
  on_handle(MessageType::kNudge, &Files::nudge);
  on_handle(MessageType::kRead, &Files::read);
  on_handle(MessageType::kWrite, &Files::write);
  on_handle(MessageType::kSeek, &Files::seek);
  on_handle(MessageType::kSync, &Files::sync);
  on_handle(MessageType::kTruncate, &Files::truncate);
  on_handle(MessageType::kStatHandle, &Files::stat_handle);
  on_handle(MessageType::kStatFsHandle, &Files::statfs_handle);
  on_handle(MessageType::kSetMode, &Files::set_mode);
  on_handle(MessageType::kSetOwner, &Files::set_owner);
  on_handle(MessageType::kSetTimes, &Files::set_times);
  on_handle(MessageType::kList, &Files::list);
  on_path(MessageType::kStat, &Files::stat);
  on_path(MessageType::kAccess, &Files::access);
  on_path(MessageType::kReadLink, &Files::read_link);
  on_path(MessageType::kMakeDir, &Files::make_directory);
  on_path(MessageType::kUnlink, &Files::unlink);
  on_path(MessageType::kStatFs, &Files::statfs);
  on_path(MessageType::kTruncatePath, &Files::truncate_path);
  on_path(MessageType::kSetModePath, &Files::set_mode_path);
  on_path(MessageType::kSetOwnerPath, &Files::set_owner_path);
  on_path(MessageType::kSetTimesPath, &Files::set_times_path);
  session_.handle(MessageType::kRename, [this](Process& process, Request&& request, Call call) {
    streams_.drain_all();
    rename(process, std::move(request), std::move(call));
  });
  session_.handle(MessageType::kMapPath, [this](Process& process, Request&& request, Call call) {
    map_path(process, std::move(request), std::move(call));
  });
  session_.handle(MessageType::kHostName, [this](Process& process, Request&& request, Call call) {
    host_name(process, std::move(request), std::move(call));
  });
}

Files::~Files() = default;

template <class T>
void Files::on_handle(local::MessageType type,
                      void (Files::*handler)(const FilePtr&, const T&, Request&, Call)) {
  session_.handle(type, [this, handler](Process& process, Request&& request, Call call) {
    streams_.drain_all();
    const auto fixed = request.fixed<T>();
    const FilePtr file = fixed ? find(process, fixed->handle) : nullptr;
    if (file == nullptr) {
      call.fail(fixed ? EBADF : EINVAL);
      return;
    }
    (this->*handler)(file, *fixed, request, std::move(call));
  });
}

void Files::on_path(local::MessageType type, void (Files::*handler)(const local::PathRequest&,
                                                                    std::string, Request&, Call)) {
  session_.handle(type, [this, handler](Process& process, Request&& request, Call call) {
    streams_.drain_all();
    const auto fixed = request.fixed<local::PathRequest>();
    const std::string_view text = request.text<local::PathRequest>();
    if (!fixed || fixed->first_length > text.size()) {
      call.fail(EINVAL);
      return;
    }
    auto path = resolve(process, fixed->directory, text.substr(0, fixed->first_length));
    if (!path) {
      call.fail(path.error());
      return;
    }
    (this->*handler)(*fixed, std::move(*path), request, std::move(call));
  });
}

Files::FilePtr Files::find(Process& process, local::Handle handle) {
  if (!process.handles.contains(handle)) {
    return nullptr;
  }
  const auto found = files_.find(handle);
  return found == files_.end() ? nullptr : found->second;
}

// The absolute path that the program means, or an errno.
std::expected<std::string, int> Files::resolve(Process& process, local::Handle directory,
                                               std::string_view path) {
  if (path.size() > local::kMaxPath || path.find('\0') != std::string_view::npos) {
    return std::unexpected(path.size() > local::kMaxPath ? ENAMETOOLONG : EINVAL);
  }
  if (!proto::is_utf8(path)) {
    return std::unexpected(EILSEQ);  // cannot travel on this wire
  }
  if (directory == 0) {
    return path.starts_with('/') ? std::expected<std::string, int>(path)
                                 : std::unexpected(path.empty() ? ENOENT : EINVAL);
  }
  const FilePtr base = find(process, directory);
  if (base == nullptr) {
    return std::unexpected(EBADF);
  }
  if (path.empty()) {
    return base->path;
  }
  if (base->kind != local::FileKind::kDirectory && base->kind != local::FileKind::kPath) {
    return std::unexpected(ENOTDIR);
  }
  std::string joined = base->path;
  // A directory that was opened without following links is the parent of nothing else: going up by
  // name stays right when it is removed (as programs do that walk a tree and remove it).
  if (!base->follows_links && (path == ".." || path.starts_with("../")) &&
      joined.rfind('/') != std::string::npos && !joined.ends_with('/') &&
      !joined.ends_with("/..") && !joined.ends_with("/.")) {
    joined.resize(std::max<std::size_t>(joined.rfind('/'), 1));
    path.remove_prefix(std::min<std::size_t>(path.size(), 3));
    if (path.empty()) {
      return joined;
    }
  }
  if (!joined.ends_with('/')) {
    joined += '/';
  }
  joined += path;
  return joined;
}

Files::FilePtr Files::add_file() {
  auto file = std::make_shared<RemoteFile>();
  file->handle = next_handle_++;
  files_[file->handle] = file;
  return file;
}

void Files::process_forked(Process& parent, Process& child) {
  for (const local::Handle handle : parent.handles) {
    const auto found = files_.find(handle);
    if (found != files_.end() && child.handles.insert(handle).second) {
      ++found->second->owners;
    }
  }
}

void Files::process_ended(Process& process) {
  streams_.drain_all();
  for (const local::Handle handle : std::exchange(process.handles, {})) {
    const auto found = files_.find(handle);
    if (found != files_.end()) {
      release(FilePtr(found->second));
    }
  }
}

void Files::release(const FilePtr& file) {
  --file->owners;
  destroy_if_unused(file);
}

// A stream outlives its handles while anybody holds the other end: a program without the hook may
// have it as its standard output.
void Files::destroy_if_unused(const FilePtr& file) {
  if (file->owners > 0 || file->unanswered_writes > 0 ||
      (file->stream && !file->stream->has_ended()) || !files_.contains(file->handle)) {
    return;
  }
  streams_.remove(*file);
  slots_.give_back(std::exchange(file->slot, local::kNoSlot));
  if (file->remote_fd) {
    agent_.send_without_reply(proto::FileRequest::make<"Close">(*file->remote_fd));
  }
  std::erase_if(cached_by_inode_, [&](const auto& entry) { return entry.second == file.get(); });
  files_.erase(file->handle);
}

void Files::close_handle(Process& process, Request&& request, Call call) {
  const auto fixed = request.fixed<local::HandleRequest>();
  const FilePtr file = fixed ? find(process, fixed->handle) : nullptr;
  if (file == nullptr) {
    call.disconnect();  // whether it waits for an answer cannot be known
    return;
  }
  process.handles.erase(file->handle);
  if (file->is_writable) {
    when_written(file, std::move(call));
  } else {
    call.ignore();
  }
  release(file);
}

void Files::note_change() {
  stat_ahead_.forget();
}

// The bytes of files that are being read from the same inode are no longer right.
void Files::note_write(const RemoteFile& file) {
  note_change();
  const auto [first, last] =
      cached_by_inode_.equal_range({file.metadata.device, file.metadata.inode});
  for (auto entry = first; entry != last; ++entry) {
    if (entry->second->cached) {
      entry->second->cached->invalidate();
    }
  }
}

void Files::agent_lost(const Error& /*why*/) {
  // Every call that waited for the agent has been answered. Those that wait for writes are
  // answered by on_written. Streams: their programs must see an error, not a full buffer.
  for (const auto& [handle, file] : files_) {
    if (file->stream) {
      report_write_error(*file, EIO);
    }
  }
}

// The link opens again what is only read. Writes that may be lost on the way are told: a hole in a
// file would be worse than a short one.
void Files::agent_interrupted(Losses& losses) {
  stat_ahead_.forget();
  for (const auto& [handle, file] : files_) {
    if (file->is_writable && !file->is_cut_off) {
      file->is_cut_off = true;
      losses.written_files.push_back(file->path);
      if (file->stream) {
        report_write_error(*file, EIO);
      }
    }
  }
}

void Files::agent_restored(const AgentLink::Restored& restored, Losses& losses) {
  for (const auto& [handle, file] : files_) {
    // What is here as a whole needs no agent.
    if (!file->remote_fd || (file->cached && file->cached->is_whole())) {
      continue;
    }
    if (std::ranges::find(restored.changed, *file->remote_fd) != restored.changed.end()) {
      losses.changed_files.push_back(file->path);
    } else if (std::ranges::find(restored.gone, *file->remote_fd) != restored.gone.end()) {
      losses.gone_files.push_back(file->path);
    }
  }
}

bool Files::has_unfinished_work() {
  streams_.drain_all();
  for (const auto& [handle, file] : files_) {
    if (file->unanswered_writes > 0) {
      return true;
    }
  }
  return false;
}

}  // namespace mirrord::intproxy
