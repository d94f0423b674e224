// applets/intproxy/files_open.cpp — opens files: towards our own agent the descriptor's number is
// known before the answer, so metadata and first bytes are asked for in the same flight.
#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <utility>

#include "applets/intproxy/files.h"

namespace mirrord::intproxy {
namespace {

// A file whose size says nothing (/proc) is read to its end, if that comes before:
constexpr std::size_t kMaxUnknown = 1 << 20;

int access_mode(std::uint32_t flags) {
  return static_cast<int>(flags & O_ACCMODE);
}

}  // namespace

// What is known of an open while its answers come in.
struct Opening {
  std::uint64_t process_key;
  std::string path;
  std::uint32_t flags;
  std::uint32_t mode;
  Call call;
  bool reads_ahead = false;
  bool is_over = false;  // answered, or given up
  std::optional<std::uint64_t> remote_fd;
  proto::MetadataInternal metadata{};
  proto::Bytes first_bytes;
  int read_error = 0;

  [[nodiscard]] bool has(int flag) const { return (static_cast<int>(flags) & flag) != 0; }
  [[nodiscard]] bool is_read_only() const { return access_mode(flags) == O_RDONLY; }
  void fail(int error_number) {
    is_over = true;
    call.fail(error_number);
  }
};

namespace {

proto::OpenOptionsInternal options_of(const Opening& opening) {
  const int access = access_mode(opening.flags);
  proto::OpenOptionsInternal options{};
  options.read = access != O_WRONLY;
  options.write = access != O_RDONLY;
  options.append = opening.has(O_APPEND) && access != O_RDONLY;
  options.truncate = opening.has(O_TRUNC);
  options.create = opening.has(O_CREAT);
  options.create_new = opening.has(O_CREAT) && opening.has(O_EXCL);
  // The wire has the rules of Rust's OpenOptions: creating and truncating need write access, and
  // appending excludes truncating, which then is a request of its own.
  options.write = options.write || options.create || options.truncate;
  if (options.append) {
    options.truncate = false;
  }
  return options;
}

proto::FileRequest open_request(const Opening& opening, proto::OpenOptionsInternal options) {
  return proto::FileRequest::make<"Open">(proto::Path(opening.path), options);
}

}  // namespace

void Files::open(Process& process, Request&& request, Call call) {
  const auto fixed = request.fixed<local::OpenRequest>();
  if (!fixed) {
    call.fail(EINVAL);
    return;
  }
  auto path = resolve(process, fixed->directory, request.text<local::OpenRequest>());
  if (!path) {
    call.fail(path.error());
    return;
  }
  auto opening = std::make_shared<Opening>(Opening{.process_key = process.key,
                                                   .path = std::move(*path),
                                                   .flags = fixed->flags,
                                                   .mode = fixed->mode & 07777,
                                                   .call = std::move(call)});
  if (opening->has(O_PATH)) {
    open_path_only(std::move(opening));
    return;
  }
  if ((opening->flags & O_TMPFILE) == O_TMPFILE) {
    opening->fail(ENOTSUP);
    return;
  }
  opening->reads_ahead = opening->is_read_only() && small_file_ > 0 && !opening->has(O_DIRECTORY) &&
                         !opening->path.starts_with("/dev/");
  if (!opening->is_read_only() || opening->has(O_CREAT | O_TRUNC)) {
    note_change();
  }
  if (opening->has(O_NOFOLLOW)) {
    check_link_first(std::move(opening));
  } else if (agent_.speaks_flight()) {
    open_in_flight(opening);
  } else {
    open_stepwise(opening, opening->has(O_CREAT));
  }
}

void Files::open_path_only(std::shared_ptr<Opening> opening) {
  const bool follows = !opening->has(O_NOFOLLOW);
  auto request =
      proto::FileRequest::make<"Xstat">(proto::Path(opening->path), std::nullopt, follows);
  agent_.request<"Xstat">(std::move(request),
                          [this, opening, follows](proto::Res<proto::XstatResponse> reply) {
                            if (!reply) {
                              opening->fail(errno_of(reply.error()));
                              return;
                            }
                            opening->metadata = reply->metadata;
                            if (opening->has(O_DIRECTORY) && !S_ISDIR(reply->metadata.mode)) {
                              opening->fail(ENOTDIR);
                              return;
                            }
                            const FilePtr file = add_file();
                            file->kind = local::FileKind::kPath;
                            file->path = opening->path;
                            file->follows_links = follows;
                            answer_placeholder(opening, file);
                          });
}

// The wire cannot say O_NOFOLLOW. Nothing may be created or emptied through a link, so the look at
// it comes first; for a plain read the loop of both trips is only one more flight.
void Files::check_link_first(std::shared_ptr<Opening> opening) {
  auto request = proto::FileRequest::make<"Xstat">(proto::Path(opening->path), std::nullopt, false);
  agent_.request<"Xstat">(
      std::move(request), [this, opening](proto::Res<proto::XstatResponse> reply) {
        if (opening->is_over) {
          return;
        }
        if (reply && S_ISLNK(reply->metadata.mode)) {
          opening->fail(opening->has(O_DIRECTORY) ? ENOTDIR : ELOOP);
          if (opening->remote_fd) {
            agent_.send_without_reply(proto::FileRequest::make<"Close">(*opening->remote_fd));
          }
          return;
        }
        if (opening->has(O_CREAT | O_TRUNC) || !agent_.speaks_flight()) {
          if (agent_.speaks_flight()) {
            open_in_flight(opening);
          } else {
            open_stepwise(opening, opening->has(O_CREAT));
          }
        }
      });
  if (!opening->has(O_CREAT | O_TRUNC) && agent_.speaks_flight()) {
    open_in_flight(opening);
  }
}

void Files::open_in_flight(const std::shared_ptr<Opening>& opening) {
  const proto::OpenOptionsInternal options = options_of(*opening);
  std::optional<std::uint64_t> creator;
  if (options.create && !options.create_new) {
    // Only a file that this open creates gets the mode. The one that creates comes first; it fails
    // where the file exists, and so do the requests on its descriptor.
    proto::OpenOptionsInternal creating{};
    creating.write = true;
    creating.create_new = true;
    creator = agent_.reserve_descriptor();
    agent_.request<"Open">(open_request(*opening, creating),
                           [](const proto::Res<proto::OpenFileResponse>&) {});
  }
  const std::uint64_t fd = agent_.reserve_descriptor();
  agent_.request<"Open">(open_request(*opening, options),
                         [this, opening, fd](proto::Res<proto::OpenFileResponse> reply) {
                           if (reply && reply->fd != fd) {
                             agent_.close("the agent gave another descriptor than it promised");
                           }
                           on_opened(opening, std::move(reply));
                         });
  if (creator || options.create_new) {
    const std::uint64_t target = creator.value_or(fd);
    agent_.request<"Fchmod">(proto::FileRequest::make<"Fchmod">(target, opening->mode),
                             [](const proto::Res<proto::Unit>&) {});
  }
  if (creator) {
    agent_.send_without_reply(proto::FileRequest::make<"Close">(*creator));
  }
  if (options.append && opening->has(O_TRUNC)) {
    agent_.request<"Ftruncate">(proto::FileRequest::make<"Ftruncate">(fd, proto::i64{0}),
                                [](const proto::Res<proto::Unit>&) {});
  }
  opening->remote_fd = fd;
  ask_metadata(opening);
}

// Where the descriptor is known only from the answer. `must_create`: find out whether this open
// creates the file, because then it gets the mode.
void Files::open_stepwise(const std::shared_ptr<Opening>& opening, bool must_create) {
  proto::OpenOptionsInternal options = options_of(*opening);
  const bool is_exclusive = options.create_new;
  options.create_new = must_create;
  agent_.request<"Open">(
      open_request(*opening, options),
      [this, opening, must_create, is_exclusive](proto::Res<proto::OpenFileResponse> reply) {
        if (!reply && must_create && !is_exclusive && errno_of(reply.error()) == EEXIST) {
          open_stepwise(opening, false);
          return;
        }
        const bool is_open = reply.has_value();
        if (is_open) {
          opening->remote_fd = reply->fd;
        }
        on_opened(opening, std::move(reply));
        if (!is_open || opening->is_over) {
          return;
        }
        if (agent_.supports(proto::Gate::kCopyfile)) {
          if (must_create) {
            agent_.request<"Fchmod">(
                proto::FileRequest::make<"Fchmod">(*opening->remote_fd, opening->mode),
                [](const proto::Res<proto::Unit>&) {});
          }
          if (opening->has(O_APPEND) && opening->has(O_TRUNC)) {
            agent_.request<"Ftruncate">(
                proto::FileRequest::make<"Ftruncate">(*opening->remote_fd, proto::i64{0}),
                [](const proto::Res<proto::Unit>&) {});
          }
        }
        ask_metadata(opening);
      });
}

void Files::on_opened(const std::shared_ptr<Opening>& opening,
                      proto::Res<proto::OpenFileResponse> reply) {
  if (!reply && !opening->is_over) {
    opening->remote_fd.reset();
    opening->fail(errno_of(reply.error()));
  }
}

void Files::ask_metadata(const std::shared_ptr<Opening>& opening) {
  const std::uint64_t fd = *opening->remote_fd;
  agent_.request<"Xstat">(
      proto::FileRequest::make<"Xstat">(std::nullopt, fd, true),
      [this, opening](proto::Res<proto::XstatResponse> reply) {
        if (opening->is_over) {
          return;
        }
        if (!reply) {
          opening->fail(errno_of(reply.error()));
          agent_.send_without_reply(proto::FileRequest::make<"Close">(*opening->remote_fd));
          return;
        }
        opening->metadata = reply->metadata;
        // The bytes matter only for regular files; do not wait for their error.
        if (!opening->reads_ahead || !S_ISREG(reply->metadata.mode)) {
          finish_open(opening);
        }
      });
  if (!opening->reads_ahead) {
    return;
  }
  agent_.request<"ReadLimited">(
      proto::FileRequest::make<"ReadLimited">(fd, small_file_, proto::u64{0}),
      [this, opening](proto::Res<proto::ReadFileResponse> reply) {
        if (opening->is_over) {
          return;
        }
        if (reply) {
          opening->first_bytes = std::move(reply->bytes);
        } else {
          opening->read_error = errno_of(reply.error());
        }
        finish_open(opening);
      });
}

void Files::finish_open(const std::shared_ptr<Opening>& opening) {
  opening->is_over = true;
  const std::uint32_t mode = opening->metadata.mode;
  if (opening->has(O_DIRECTORY) && !S_ISDIR(mode)) {
    agent_.send_without_reply(proto::FileRequest::make<"Close">(*opening->remote_fd));
    opening->fail(ENOTDIR);
    return;
  }
  const int access = access_mode(opening->flags);
  const FilePtr file = add_file();
  file->path = opening->path;
  file->remote_fd = opening->remote_fd;
  file->follows_links = !opening->has(O_NOFOLLOW);
  file->is_regular = S_ISREG(mode);
  file->is_readable = access != O_WRONLY;
  file->is_writable = access != O_RDONLY;
  file->is_append = opening->has(O_APPEND);
  file->metadata = to_local(opening->metadata);
  file->metadata_at_ms = loop_.now_ms();
  if (file->is_writable && opening->has(O_TRUNC)) {
    note_write(*file);
  }
  if (S_ISDIR(mode)) {
    file->kind = local::FileKind::kDirectory;
    file->memory = make_memory(file->path);
    answer_open(opening, file, reopen_memory(file->memory.get(), O_RDONLY).release());
  } else if (opening->reads_ahead && file->is_regular && opening->read_error == 0) {
    finish_cached(opening, file);
  } else if (file->is_regular && access == O_WRONLY) {
    file->kind = local::FileKind::kStream;
    file->slot = slots_.take(file->handle);
    Fd end = streams_.add(file);
    answer_open(opening, file, end.release());
  } else {
    answer_placeholder(opening, file);
  }
}

void Files::finish_cached(const std::shared_ptr<Opening>& opening, const FilePtr& file) {
  const std::size_t count = opening->first_bytes.size();
  const std::uint64_t size = opening->metadata.size;
  if (count == size || (count > 0 && count < size && size > small_file_)) {
    begin_cached(opening, file, opening->first_bytes.span(), size);
  } else if (count == 0) {
    begin_cached(opening, file, {}, 0);
  } else {
    read_unknown_size(opening, file);
  }
}

// Files of /proc and /sys: the size is a fiction and a read may return less than there is.
void Files::read_unknown_size(const std::shared_ptr<Opening>& opening, const FilePtr& file) {
  const std::size_t got = opening->first_bytes.size();
  if (got >= kMaxUnknown) {
    answer_placeholder(opening, file);  // endless perhaps: read by message
    return;
  }
  agent_.request<"ReadLimited">(
      proto::FileRequest::make<"ReadLimited">(*file->remote_fd, small_file_, got),
      [this, opening, file](proto::Res<proto::ReadFileResponse> reply) {
        if (!reply || reply->bytes.empty()) {
          const std::span<const std::byte> bytes = opening->first_bytes.span();
          begin_cached(opening, file, bytes, bytes.size());
          return;
        }
        opening->first_bytes.append(reply->bytes.span());
        finish_cached(opening, file);
      });
}

void Files::begin_cached(const std::shared_ptr<Opening>& opening, const FilePtr& file,
                         std::span<const std::byte> bytes, std::uint64_t size) {
  const bool is_whole = bytes.size() >= size;
  if (!is_whole) {
    file->slot = slots_.take(file->handle);
    if (file->slot == local::kNoSlot) {
      answer_placeholder(opening, file);  // thousands of large files: by message
      return;
    }
  }
  Fd memory = make_memory(file->path);
  if (!memory.is_open()) {
    answer_open(opening, file, -1);
    return;
  }
  file->kind = local::FileKind::kCached;
  file->cached =
      std::make_shared<CachedContent>(loop_, agent_, *file->remote_fd, std::move(memory), limits_);
  file->cached->begin(bytes, size);
  cached_by_inode_.emplace(std::pair(file->metadata.device, file->metadata.inode), file.get());
  if (!is_whole) {
    file->cached->use_slot(slots_.at(file->slot));
  }
  answer_open(opening, file, reopen_memory(file->cached->memory(), O_RDONLY).release());
}

// A file whose every call comes by message gets an empty descriptor that polls as ready.
void Files::answer_placeholder(const std::shared_ptr<Opening>& opening, const FilePtr& file) {
  const Fd memory = make_memory(file->path);
  const int descriptor =
      memory.is_open() ? reopen_memory(memory.get(), access_mode(opening->flags)).release() : -1;
  answer_open(opening, file, descriptor);
}

// Takes over `descriptor`; -1: it could not be made.
void Files::answer_open(const std::shared_ptr<Opening>& opening, const FilePtr& file,
                        int descriptor) {
  const Fd owned(descriptor);
  opening->is_over = true;
  const auto process = session_.processes().find(opening->process_key);
  if (!owned.is_open() || process == session_.processes().end() || !opening->call.is_awaited()) {
    opening->call.fail(EMFILE);
    if (file->stream) {
      file->stream->abandon();
    }
    destroy_if_unused(file);
    return;
  }
  process->second->handles.insert(file->handle);
  ++file->owners;
  local::OpenReply reply{};
  reply.handle = file->handle;
  reply.kind = file->kind;
  reply.slot = file->slot;
  reply.ready_end = file->cached ? file->cached->ready_end() : 0;
  reply.metadata = to_local(opening->metadata);
  opening->call.answer(reply, {}, owned.get());
}

}  // namespace mirrord::intproxy
