// applets/agent/file_calls.cpp — the table of open descriptors, opening, and the choice by request.
#include "applets/agent/file_calls.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "proto/errors.h"

namespace mirrord::agent {
namespace {

using proto::FileRequest;
using proto::FileResponse;
using proto::ResponseError;

std::unexpected<ResponseError> failed(int error_number) {
  return std::unexpected(proto::from_errno(error_number));
}

// The flags of open(2), or -1 for a mix that has no meaning. Which mixes those are, and the mode of
// new files, is part of the protocol.
int open_flags(const proto::OpenOptionsInternal& options) {
  int flags = O_NONBLOCK | O_NOCTTY;  // for FIFOs and devices; regular files do not care
  if (options.append)
    flags |= (options.read ? O_RDWR : O_WRONLY) | O_APPEND;
  else if (options.read && options.write)
    flags |= O_RDWR;
  else if (options.write)
    flags |= O_WRONLY;
  else if (options.read)
    flags |= O_RDONLY;
  else
    return -1;
  const bool writes = options.write || options.append;
  if (!writes && (options.truncate || options.create || options.create_new))
    return -1;
  if (options.append && options.truncate && !options.create_new)
    return -1;
  if (options.create_new)
    return flags | O_CREAT | O_EXCL;
  return flags | (options.create ? O_CREAT : 0) | (options.truncate ? O_TRUNC : 0);
}

constexpr mode_t kNewFileMode = 0666;

std::unexpected<ResponseError> not_absolute(const std::string& path) {
  return std::unexpected(ResponseError::make<"StripPrefix">("not an absolute path: " + path));
}

bool is_absolute(const std::string& path) {
  return path.starts_with('/');
}

}  // namespace

FileCalls::Open* FileCalls::find(std::uint64_t fd) {
  const auto found = open_.find(fd);
  return found == open_.end() ? nullptr : &found->second;
}

FileCalls::Res<FileCalls::Open*> FileCalls::file(std::uint64_t fd) {
  Open* open = find(fd);
  if (open == nullptr || open->is_listing)
    return std::unexpected(ResponseError::make<"NotFound">(fd));
  if (open->kind == Kind::kDirectory)
    return std::unexpected(ResponseError::make<"NotFile">(fd));
  return open;
}

FileCalls::Res<FileCalls::Open*> FileCalls::directory(std::uint64_t fd) {
  Open* open = find(fd);
  if (open == nullptr || open->is_listing)
    return std::unexpected(ResponseError::make<"NotFound">(fd));
  if (open->kind != Kind::kDirectory)
    return std::unexpected(ResponseError::make<"NotDirectory">(fd));
  return open;
}

FileCalls::Res<FileCalls::Open*> FileCalls::file_or_directory(std::uint64_t fd) {
  Open* open = find(fd);
  if (open == nullptr || open->is_listing)
    return std::unexpected(ResponseError::make<"NotFound">(fd));
  return open;
}

FileCalls::Res<FileCalls::Open*> FileCalls::listing(std::uint64_t fd) {
  Open* open = find(fd);
  if (open == nullptr || !open->is_listing)
    return std::unexpected(ResponseError::make<"NotFound">(fd));
  return open;
}

bool FileCalls::must_wait(Open& open, Attempt attempt) {
  if (attempt == Attempt::kBlocking)
    return false;
  if (!open.on_memory)
    open.on_memory = is_on_memory(open.fd.get());
  would_block_ = !*open.on_memory;
  return would_block_;
}

Fd FileCalls::open_path(int base, const std::string& path, int flags, mode_t mode,
                        Attempt attempt) {
  if (path.find('\0') != std::string::npos) {
    errno = EINVAL;
    return Fd();
  }
  const auto open = [&](Attempt how) {
    return base == root_ ? open_inside(root_, path.c_str(), flags, mode, how)
                         : open_inside_at(root_, base, path.c_str(), flags, mode, how);
  };
  Fd fd = open(attempt);
  if (fd || errno != EAGAIN || attempt == Attempt::kBlocking)
    return fd;
  // A name that the kernel does not remember, or a file to be made. In a directory that lives in
  // memory this takes no longer than handing the request to another thread.
  const Place place = parent_of(base, path, Attempt::kCached);
  if (would_block_)
    return Fd();
  return open(Attempt::kBlocking);
}

// Leaves would_block_ when the parent, or what is to be changed in it, may be on a disk.
Place FileCalls::parent_of(int base, const std::string& path, Attempt attempt) {
  if (path.find('\0') != std::string::npos) {
    errno = EINVAL;
    return {};
  }
  Place place = base == root_ ? open_parent(root_, path.c_str(), attempt)
                              : open_parent_at(root_, base, path.c_str(), attempt);
  if (attempt == Attempt::kCached) {
    const int error_number = errno;
    if (place.parent ? !is_on_memory(place.parent.get()) : error_number == EAGAIN)
      would_block_ = true;
    errno = error_number;
  }
  return place;
}

std::uint64_t FileCalls::insert(Open open) {
  const std::uint64_t fd = next_fd_;
  open_.emplace(fd, std::move(open));
  return fd;
}

// Gives the open call its descriptor number; see number_all_opens().
template <class T>
FileCalls::Res<T> FileCalls::number_open(Res<T> result) {
  if (!would_block_ && (result || numbers_all_opens_))
    ++next_fd_;
  return result;
}

FileCalls::Res<proto::OpenFileResponse> FileCalls::open(int base, const std::string& path,
                                                        const proto::OpenOptionsInternal& options,
                                                        Attempt attempt) {
  const int flags = open_flags(options);
  if (flags < 0)
    return failed(EINVAL);
  if (opening_waits_ && attempt == Attempt::kCached) {
    would_block_ = true;
    return failed(EAGAIN);
  }
  Open open;
  open.fd = open_path(base, path, flags, kNewFileMode, attempt);
  struct stat info {};
  if (!open.fd || ::fstat(open.fd.get(), &info) != 0)
    return failed(errno);
  open.kind = S_ISDIR(info.st_mode)   ? Kind::kDirectory
              : S_ISREG(info.st_mode) ? Kind::kRegular
                                      : Kind::kOther;
  if (open.kind == Kind::kRegular)
    open.size = info.st_size;
  open.is_append = options.append;
  open.is_fifo = S_ISFIFO(info.st_mode);
  return proto::OpenFileResponse{insert(std::move(open))};
}

FileCalls::Res<proto::OpenFileResponse> FileCalls::open_relative(
    const proto::OpenRelativeFileRequest& request, Attempt attempt) {
  const auto base = directory(request.relative_fd);
  if (!base)
    return std::unexpected(base.error());
  return open((*base)->fd.get(), request.path.value, request.open_options, attempt);
}

FileCalls::Res<proto::OpenDirResponse> FileCalls::open_directory(std::uint64_t fd,
                                                                 Attempt attempt) {
  const auto base = directory(fd);
  if (!base)
    return std::unexpected(base.error());
  if (must_wait(**base, attempt))
    return failed(EAGAIN);
  Fd again(::openat((*base)->fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!again)
    return failed(errno);
  Open open;
  open.is_listing = true;
  open.listing = std::make_unique<Listing>(std::move(again), false);
  open.listing->prefetch();
  return proto::OpenDirResponse{insert(std::move(open))};
}

void FileCalls::close(std::uint64_t fd, Attempt attempt) {
  const Open* open = find(fd);
  // What was written is sent to its server now.
  if (open != nullptr && open->was_written && attempt == Attempt::kCached)
    would_block_ = is_served_elsewhere(open->fd.get());
  if (!would_block_)
    open_.erase(fd);
}

// On a directory this ends only the listing that GetDEnts64 has begun; the descriptor stays.
void FileCalls::close_listing(std::uint64_t fd) {
  Open* open = find(fd);
  if (open == nullptr)
    return;
  if (open->is_listing)
    open_.erase(fd);
  else
    open->listing.reset();
}

// One overload per request, so that a request without one does not compile.
struct FileDispatch {
  FileCalls& calls;
  Attempt attempt;

  FileResponse operator()(const proto::OpenFileRequest& request) {
    auto result = is_absolute(request.path.value)
                      ? calls.open(calls.root_, request.path.value, request.open_options, attempt)
                      : not_absolute(request.path.value);
    return FileResponse::make<"Open">(calls.number_open(std::move(result)));
  }
  FileResponse operator()(const proto::OpenRelativeFileRequest& request) {
    return FileResponse::make<"Open">(calls.number_open(calls.open_relative(request, attempt)));
  }
  FileResponse operator()(const proto::FdOpenDirRequest& request) {
    return FileResponse::make<"OpenDir">(
        calls.number_open(calls.open_directory(request.remote_fd, attempt)));
  }
  FileResponse operator()(const proto::ReadFileRequest& request) {
    return FileResponse::make<"Read">(
        calls.read(request.remote_fd, request.buffer_size, -1, attempt));
  }
  FileResponse operator()(const proto::ReadLimitedFileRequest& request) {
    if (request.start_from > INT64_MAX)
      return FileResponse::make<"ReadLimited">(failed(EINVAL));
    return FileResponse::make<"ReadLimited">(
        calls.read(request.remote_fd, request.buffer_size,
                   static_cast<std::int64_t>(request.start_from), attempt));
  }
  FileResponse operator()(const proto::WriteFileRequest& request) {
    return FileResponse::make<"Write">(calls.write(request.fd, request.write_bytes, -1, attempt));
  }
  FileResponse operator()(const proto::WriteLimitedFileRequest& request) {
    if (request.start_from > INT64_MAX)
      return FileResponse::make<"WriteLimited">(failed(EINVAL));
    return FileResponse::make<"WriteLimited">(
        calls.write(request.remote_fd, request.write_bytes,
                    static_cast<std::int64_t>(request.start_from), attempt));
  }
  FileResponse operator()(const proto::SeekFileRequest& request) {
    return FileResponse::make<"Seek">(calls.seek(request));
  }
  FileResponse operator()(const proto::AccessFileRequest& request) {
    return FileResponse::make<"Access">(is_absolute(request.pathname.value)
                                            ? calls.access(request, attempt)
                                            : not_absolute(request.pathname.value));
  }
  FileResponse operator()(const proto::XstatRequest& request) {
    return FileResponse::make<"Xstat">(calls.stat(request, attempt));
  }
  FileResponse operator()(const proto::ReadLinkFileRequest& request) {
    return FileResponse::make<"ReadLink">(is_absolute(request.path.value)
                                              ? calls.read_link(request.path.value, attempt)
                                              : not_absolute(request.path.value));
  }

  // The first form of the file system requests has fewer fields.
  static FileResponse short_form(const proto::Res<proto::FsMetadataInternalV2>& full) {
    if (!full)
      return FileResponse::make<"XstatFs">(std::unexpected(full.error()));
    return FileResponse::make<"XstatFs">(proto::XstatFsResponse{
        {full->filesystem_type, full->block_size, full->blocks, full->blocks_free,
         full->blocks_available, full->files, full->files_free}});
  }
  static FileResponse long_form(const proto::Res<proto::FsMetadataInternalV2>& full) {
    if (!full)
      return FileResponse::make<"XstatFsV2">(std::unexpected(full.error()));
    return FileResponse::make<"XstatFsV2">(proto::XstatFsResponseV2{*full});
  }
  FileResponse operator()(const proto::XstatFsRequest& request) {
    return short_form(calls.stat_fs(request.fd, attempt));
  }
  FileResponse operator()(const proto::StatFsRequest& request) {
    return short_form(calls.stat_fs(request.path.value, attempt));
  }
  FileResponse operator()(const proto::XstatFsRequestV2& request) {
    return long_form(calls.stat_fs(request.fd, attempt));
  }
  FileResponse operator()(const proto::StatFsRequestV2& request) {
    return long_form(calls.stat_fs(request.path.value, attempt));
  }

  FileResponse operator()(const proto::MakeDirRequest& request) {
    return FileResponse::make<"MakeDir">(
        calls.make_dir(calls.root_, request.pathname.value, request.mode, attempt));
  }
  FileResponse operator()(const proto::MakeDirAtRequest& request) {
    const auto base = calls.directory(request.dirfd);
    if (!base)
      return FileResponse::make<"MakeDir">(std::unexpected(base.error()));
    return FileResponse::make<"MakeDir">(
        calls.make_dir((*base)->fd.get(), request.pathname.value, request.mode, attempt));
  }
  FileResponse operator()(const proto::RemoveDirRequest& request) {
    return FileResponse::make<"RemoveDir">(
        calls.remove(calls.root_, request.pathname.value, AT_REMOVEDIR, attempt));
  }
  FileResponse operator()(const proto::UnlinkRequest& request) {
    return FileResponse::make<"Unlink">(
        calls.remove(calls.root_, request.pathname.value, 0, attempt));
  }
  FileResponse operator()(const proto::UnlinkAtRequest& request) {
    return FileResponse::make<"Unlink">(calls.unlink_at(request, attempt));
  }
  FileResponse operator()(const proto::RenameRequest& request) {
    return FileResponse::make<"Rename">(calls.rename(request, attempt));
  }

  FileResponse operator()(const proto::ReadDirRequest& request) {
    return FileResponse::make<"ReadDir">(calls.read_dir(request.remote_fd, attempt));
  }
  FileResponse operator()(const proto::ReadDirBatchRequest& request) {
    return FileResponse::make<"ReadDirBatch">(calls.read_dir_batch(request, attempt));
  }
  FileResponse operator()(const proto::GetDEnts64Request& request) {
    return FileResponse::make<"GetDEnts64">(calls.get_dents(request, attempt));
  }

  // Attributes of what is open.
  template <class Change>
  proto::Res<proto::Unit> change(std::uint64_t number, Change apply) {
    const auto open = calls.file_or_directory(number);
    if (!open)
      return std::unexpected(open.error());
    if (calls.must_wait(**open, attempt))
      return failed(EAGAIN);
    if (apply((*open)->fd.get()) != 0)
      return failed(errno);
    return proto::Unit{};
  }
  FileResponse operator()(const proto::FtruncateRequest& request) {
    if (const auto open = calls.file(request.fd); !open)
      return FileResponse::make<"Ftruncate">(std::unexpected(open.error()));
    return FileResponse::make<"Ftruncate">(
        change(request.fd, [&](int fd) { return ::ftruncate(fd, request.length); }));
  }
  FileResponse operator()(const proto::FutimensRequest& request) {
    timespec times[2]{};
    if (request.times) {
      for (std::size_t i = 0; i < 2; ++i)
        times[i] = {(*request.times)[i].tv_sec, (*request.times)[i].tv_nsec};
    }
    return FileResponse::make<"Futimens">(change(
        request.fd, [&](int fd) { return ::futimens(fd, request.times ? times : nullptr); }));
  }
  FileResponse operator()(const proto::FchownRequest& request) {
    return FileResponse::make<"Fchown">(
        change(request.fd, [&](int fd) { return ::fchown(fd, request.owner, request.group); }));
  }
  FileResponse operator()(const proto::FchmodRequest& request) {
    return FileResponse::make<"Fchmod">(
        change(request.fd, [&](int fd) { return ::fchmod(fd, request.mode & 07777); }));
  }
};

FileCalls::Outcome FileCalls::execute(FileRequest& request, Attempt attempt,
                                      FileResponse& response) {
  would_block_ = false;
  if (const auto* closing = request.get_if<"Close">()) {
    close(closing->fd, attempt);
    return would_block_ ? Outcome::kWouldBlock : Outcome::kNoReply;
  }
  if (const auto* closing = request.get_if<"CloseDir">()) {
    close_listing(closing->remote_fd);
    return Outcome::kNoReply;
  }
  FileDispatch dispatch{*this, attempt};
  request.visit([&]<class Request>(const Request& chosen) {
    if constexpr (!std::is_same_v<Request, proto::CloseFileRequest> &&
                  !std::is_same_v<Request, proto::CloseDirRequest>)
      response = dispatch(chosen);
  });
  return would_block_ ? Outcome::kWouldBlock : Outcome::kReply;
}

}  // namespace mirrord::agent
