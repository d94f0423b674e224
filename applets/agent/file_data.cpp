// applets/agent/file_data.cpp — reads, writes and attributes of what is open, and listings.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "applets/agent/file_calls.h"
#include "proto/errors.h"

namespace mirrord::agent {
namespace {

using proto::ResponseError;

std::unexpected<ResponseError> failed(int error_number) {
  return std::unexpected(proto::from_errno(error_number));
}

// How long a call on a FIFO or a device may wait for the other side before it says EAGAIN. The
// client's later requests wait behind it. Clients that repeat the call need no such wait.
constexpr int kPatienceMs = 200;

constexpr std::uint64_t kMaxBatch = 8192;
constexpr std::uint64_t kMaxListingBytes = 1 << 20;

// A write that took longer has waited for a disk, and so will those after it.
constexpr std::chrono::milliseconds kSlowWrite{5};
constexpr std::chrono::seconds kSlowFor{2};

void wait_ready(int fd, short events) {
  pollfd entry{.fd = fd, .events = events, .revents = 0};
  ::poll(&entry, 1, kPatienceMs);
}

// Whether a FIFO that is open for reading is, or has been, open for writing since.
bool has_writer_come(int fifo) {
  pollfd entry{.fd = fifo, .events = POLLIN, .revents = 0};
  ::poll(&entry, 1, 0);
  if ((entry.revents & (POLLIN | POLLHUP)) != 0)
    return true;
  // There is no byte: tee says whether one could still come.
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
    return true;
  const Fd out(ends[0]);
  const Fd in(ends[1]);
  const ssize_t count = ::tee(fifo, in.get(), 1, SPLICE_F_NONBLOCK);
  return count > 0 || (count < 0 && errno == EAGAIN);
}

// One read at `offset`, or at the file position for -1. `flags` as for preadv2(2).
ssize_t read_once(int fd, std::span<std::byte> space, std::int64_t offset, int flags) {
  ssize_t count = -1;
  do {
    if (flags != 0) {
      const iovec part{space.data(), space.size()};
      count = ::preadv2(fd, &part, 1, offset, flags);
    } else if (offset < 0) {
      count = ::read(fd, space.data(), space.size());
    } else {
      count = ::pread(fd, space.data(), space.size(), offset);
    }
  } while (count < 0 && errno == EINTR);
  return count;
}

// Where a regular file is known to end, -1 if it is not. A read that stops there need not be asked
// again: it would not stop inside of a page unless the file ended there.
std::int64_t known_end(std::int64_t size) {
  constexpr std::int64_t kPage = 4096;
  return size > 0 && size % kPage != 0 ? size : -1;
}

// Reads until the space is full, the file ends or an error comes. A regular file gives less than
// asked for only at its end; clients rely on that. `left` is how much there is up to the known end,
// or -1. Returns false with errno on an error before the first byte; `complete` is false when
// RWF_NOWAIT stopped half-way.
bool read_full(int fd, proto::Payload& bytes, std::int64_t offset, std::int64_t left, int flags,
               bool& complete) {
  complete = true;
  while (!bytes.spare().empty() && static_cast<std::int64_t>(bytes.size()) != left) {
    const std::int64_t at = offset < 0 ? -1 : offset + static_cast<std::int64_t>(bytes.size());
    const ssize_t count = read_once(fd, bytes.spare(), at, flags);
    if (count < 0) {
      complete = errno != EAGAIN;
      return !bytes.empty();
    }
    if (count == 0)
      break;
    bytes.commit(static_cast<std::size_t>(count));
  }
  return true;
}

std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

proto::MetadataInternal metadata_of(const struct stat& info) {
  return {
      .device_id = info.st_dev,
      .inode = info.st_ino,
      .mode = info.st_mode,
      .hard_links = info.st_nlink,
      .user_id = info.st_uid,
      .group_id = info.st_gid,
      .rdevice_id = info.st_rdev,
      .size = static_cast<std::uint64_t>(info.st_size),
      .access_time = nanoseconds(info.st_atim),
      .modification_time = nanoseconds(info.st_mtim),
      .creation_time = nanoseconds(info.st_ctim),
      .block_size = static_cast<std::uint64_t>(info.st_blksize),
      .blocks = static_cast<std::uint64_t>(info.st_blocks),
  };
}

proto::FsMetadataInternalV2 metadata_of(const struct statfs& info) {
  proto::FsMetadataInternalV2 metadata{
      .filesystem_type = static_cast<std::int64_t>(info.f_type),
      .block_size = static_cast<std::int64_t>(info.f_bsize),
      .blocks = info.f_blocks,
      .blocks_free = info.f_bfree,
      .blocks_available = info.f_bavail,
      .files = info.f_files,
      .files_free = info.f_ffree,
      .filesystem_id = {},
      .name_len = static_cast<std::int64_t>(info.f_namelen),
      .fragment_size = static_cast<std::int64_t>(info.f_frsize),
      .flags = static_cast<std::int64_t>(info.f_flags),
  };
  static_assert(sizeof info.f_fsid == sizeof metadata.filesystem_id);
  std::memcpy(metadata.filesystem_id.data(), &info.f_fsid, sizeof info.f_fsid);
  return metadata;
}

// Bytes of the entry's record in the getdents64(2) of the client's program.
std::uint64_t record_size(const proto::DirEntryInternal& entry) {
  return (20 + entry.name.size() + 7) & ~std::uint64_t{7};
}

}  // namespace

// A large read of a file that lies in the page cache: its pages go to the client as they are. False
// leaves everything as it was, for a read into memory.
bool FileCalls::read_by_pipe(Open& open, std::uint64_t size, std::int64_t offset,
                             std::uint64_t& amount) {
  constexpr std::uint64_t kWorthIt = 128 * 1024;
  constexpr std::int64_t kPage = 4096;
  if (open.kind != Kind::kRegular || size < kWorthIt)
    return false;
  const int raw = open.fd.get();
  struct stat info {};
  const std::int64_t from = offset < 0 ? ::lseek(raw, 0, SEEK_CUR) : offset;
  if (from < 0 || ::fstat(raw, &info) != 0 || info.st_size - from < std::int64_t{kWorthIt})
    return false;
  const std::uint64_t room = net::PayloadPipe::kCapacity - static_cast<std::uint64_t>(from % kPage);
  const std::uint64_t wanted =
      std::min({size, kMaxRead, static_cast<std::uint64_t>(info.st_size - from)});
  // A short answer would mean the end of the file.
  if (wanted > room || !is_in_memory(raw, from, wanted))
    return false;
  net::LeasedPipe pipe = pipes_.take();
  if (!pipe)
    return false;
  off_t at = from;
  while ((*pipe)->size() < wanted) {
    const ssize_t count = (*pipe)->fill(raw, &at, wanted - (*pipe)->size());
    if (count == 0)
      break;  // it has just been cut short
    if (count < 0)
      return false;
  }
  amount = (*pipe)->size();
  if (amount == 0)
    return false;
  if (offset < 0)
    ::lseek(raw, at, SEEK_SET);
  piped_ = std::move(pipe);
  return true;
}

FileCalls::Res<proto::ReadFileResponse> FileCalls::read(std::uint64_t fd, std::uint64_t size,
                                                        std::int64_t offset, Attempt attempt) {
  const auto found = file(fd);
  if (!found)
    return std::unexpected(found.error());
  Open& open = **found;
  const int raw = open.fd.get();
  if (std::uint64_t amount = 0;
      attempt == Attempt::kCached && read_by_pipe(open, size, offset, amount)) {
    if (offset < 0 && open.position >= 0)
      open.position += static_cast<std::int64_t>(amount);
    return proto::ReadFileResponse{{}, amount};
  }
  auto bytes = proto::Payload::with_capacity(static_cast<std::size_t>(std::min(size, kMaxRead)));
  const bool is_cached_only = attempt == Attempt::kCached && !open.on_memory.value_or(false);

  if (open.kind == Kind::kOther) {
    if (attempt == Attempt::kBlocking && !client_repeats())
      wait_ready(raw, POLLIN);
    const ssize_t count = read_once(raw, bytes.spare(), offset, 0);
    if (count < 0) {
      would_block_ = errno == EAGAIN && attempt == Attempt::kCached && !client_repeats();
      return failed(errno);
    }
    if (count == 0 && open.is_fifo && client_repeats() && !has_writer_come(raw))
      return failed(ENXIO);
    bytes.commit(static_cast<std::size_t>(count));
  } else {
    if (is_cached_only && !open.takes_nowait) {
      would_block_ = true;
      return failed(EAGAIN);
    }
    bool complete = true;
    const std::int64_t from = offset < 0 ? open.position : offset;
    const std::int64_t end = known_end(open.size);
    const std::int64_t left = from >= 0 && end > from ? end - from : -1;
    const bool worked =
        read_full(raw, bytes, offset, left, is_cached_only ? RWF_NOWAIT : 0, complete);
    if (!worked && is_cached_only && errno == EOPNOTSUPP) {
      open.takes_nowait = false;
      open.on_memory = is_on_memory(raw);
      return read(fd, size, offset, attempt);
    }
    if (is_cached_only && !complete) {
      // Half of it came from memory. Start over on another thread: the answer must not be short.
      if (offset < 0 && !bytes.empty())
        ::lseek(raw, -static_cast<off_t>(bytes.size()), SEEK_CUR);
      would_block_ = true;
      return failed(EAGAIN);
    }
    if (!worked)
      return failed(errno);
    if (offset < 0 && open.position >= 0)
      open.position += static_cast<std::int64_t>(bytes.size());
  }
  const std::uint64_t amount = bytes.size();
  return proto::ReadFileResponse{std::move(bytes), amount};
}

// Writing whole pages to a file of a local disk puts them into memory: handing that to another
// thread costs more than doing it. It waits only when the system holds writers back, and then, for
// a while, the pool waits instead of the loop. Parts of pages may have to be read first.
bool FileCalls::must_wait_to_write(Open& open, std::size_t size, std::int64_t offset,
                                   Attempt attempt) {
  constexpr std::size_t kPage = 4096;
  if (attempt == Attempt::kBlocking)
    return false;
  if (!open.is_local)
    open.is_local = !is_served_elsewhere(open.fd.get());
  if (*open.is_local && !open.is_append && size % kPage == 0) {
    const std::int64_t at = offset < 0 ? ::lseek(open.fd.get(), 0, SEEK_CUR) : offset;
    if (at >= 0 && at % static_cast<std::int64_t>(kPage) == 0 &&
        std::chrono::steady_clock::now() >= open.slow_until)
      return false;
  }
  return must_wait(open, attempt);
}

FileCalls::Res<proto::WriteFileResponse> FileCalls::write(std::uint64_t fd,
                                                          const proto::Payload& bytes,
                                                          std::int64_t offset, Attempt attempt) {
  const auto found = file(fd);
  if (!found)
    return std::unexpected(found.error());
  Open& open = **found;
  const int raw = open.fd.get();
  if (open.kind == Kind::kRegular && must_wait_to_write(open, bytes.size(), offset, attempt))
    return failed(EAGAIN);
  open.was_written = true;
  open.position = -1;
  const auto begin = std::chrono::steady_clock::now();
  std::size_t written = 0;
  if (open.kind == Kind::kOther && attempt == Attempt::kBlocking && !client_repeats())
    wait_ready(raw, POLLOUT);
  do {
    const std::byte* from = bytes.data() + written;
    const std::size_t left = bytes.size() - written;
    const ssize_t count =
        offset < 0 ? ::write(raw, from, left)
                   : ::pwrite(raw, from, left, offset + static_cast<std::int64_t>(written));
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0 && written == 0) {
      would_block_ = errno == EAGAIN && attempt == Attempt::kCached && !client_repeats();
      return failed(errno);
    }
    if (count <= 0)
      break;  // the error comes again with the rest
    written += static_cast<std::size_t>(count);
  } while (written < bytes.size() && open.kind == Kind::kRegular);
  const auto end = std::chrono::steady_clock::now();
  if (end - begin > kSlowWrite)
    open.slow_until = end + kSlowFor;
  return proto::WriteFileResponse{written};
}

FileCalls::Res<proto::SeekFileResponse> FileCalls::seek(const proto::SeekFileRequest& request) {
  const auto open = file(request.fd);
  if (!open)
    return std::unexpected(open.error());
  (*open)->position = -1;
  off_t offset = 0;
  int whence = SEEK_SET;
  if (const auto* start = request.seek_from.get_if<"Start">()) {
    if (*start > INT64_MAX)
      return failed(EINVAL);
    offset = static_cast<off_t>(*start);
  } else if (const auto* end = request.seek_from.get_if<"End">()) {
    offset = *end;
    whence = SEEK_END;
  } else {
    offset = request.seek_from.get<"Current">();
    whence = SEEK_CUR;
  }
  const off_t result = ::lseek((*open)->fd.get(), offset, whence);
  if (result < 0)
    return failed(errno);
  return proto::SeekFileResponse{static_cast<std::uint64_t>(result)};
}

FileCalls::Res<proto::XstatResponse> FileCalls::stat(const proto::XstatRequest& request,
                                                     Attempt attempt) {
  struct stat info {};
  if (!request.path) {
    if (!request.fd)
      return std::unexpected(ResponseError::make<"RemoteIO">(
          std::nullopt, proto::ErrorKindInternal::make<"InvalidInput">()));
    const auto open = file_or_directory(*request.fd);
    if (!open)
      return std::unexpected(open.error());
    if (::fstat((*open)->fd.get(), &info) != 0)
      return failed(errno);
    return proto::XstatResponse{metadata_of(info)};
  }
  int base = root_;
  if (request.fd) {
    const auto open = directory(*request.fd);
    if (!open)
      return std::unexpected(open.error());
    base = (*open)->fd.get();
  } else if (!request.path->value.starts_with('/')) {
    return failed(EINVAL);
  }
  const int flags = O_PATH | (request.follow_symlink ? 0 : O_NOFOLLOW);
  const Fd found = open_path(base, request.path->value, flags, 0, attempt);
  if (!found || ::fstat(found.get(), &info) != 0)
    return failed(errno);
  return proto::XstatResponse{metadata_of(info)};
}

FileCalls::Res<proto::FsMetadataInternalV2> FileCalls::stat_fs(std::uint64_t fd, Attempt attempt) {
  const auto open = file_or_directory(fd);
  if (!open)
    return std::unexpected(open.error());
  return stat_fs(**open, attempt);
}

FileCalls::Res<proto::FsMetadataInternalV2> FileCalls::stat_fs(Open& open, Attempt attempt) {
  if (must_wait(open, attempt))  // network file systems ask their server
    return failed(EAGAIN);
  struct statfs info {};
  if (::fstatfs(open.fd.get(), &info) != 0)
    return failed(errno);
  return metadata_of(info);
}

FileCalls::Res<proto::ReadDirResponse> FileCalls::read_dir(std::uint64_t fd, Attempt attempt) {
  const auto open = listing(fd);
  if (!open)
    return std::unexpected(open.error());
  Listing& entries = *(*open)->listing;
  switch (entries.peek(attempt)) {
    case Listing::State::kEntry:
      return proto::ReadDirResponse{entries.take()};
    case Listing::State::kEnd:
      return proto::ReadDirResponse{std::nullopt};
    case Listing::State::kError:
      return failed(errno);
    case Listing::State::kWouldBlock:
      break;
  }
  would_block_ = true;
  return failed(EAGAIN);
}

FileCalls::Res<proto::ReadDirBatchResponse> FileCalls::read_dir_batch(
    const proto::ReadDirBatchRequest& request, Attempt attempt) {
  const auto open = listing(request.remote_fd);
  if (!open)
    return std::unexpected(open.error());
  Listing& entries = *(*open)->listing;
  const std::uint64_t most = std::min(request.amount, kMaxBatch);
  proto::ReadDirBatchResponse response{request.remote_fd, {}};
  while (response.dir_entries.size() < most) {
    const Listing::State state = entries.peek(attempt);
    if (state == Listing::State::kEntry) {
      response.dir_entries.push_back(entries.take());
      continue;
    }
    // With entries in hand, fewer than asked for are a good answer; the rest comes with the next.
    if (state == Listing::State::kEnd || !response.dir_entries.empty())
      break;
    would_block_ = state == Listing::State::kWouldBlock;
    return failed(would_block_ ? EAGAIN : errno);
  }
  return response;
}

FileCalls::Res<proto::GetDEnts64Response> FileCalls::get_dents(
    const proto::GetDEnts64Request& request, Attempt attempt) {
  const auto open = directory(request.remote_fd);
  if (!open)
    return std::unexpected(open.error());
  if (!(*open)->listing) {
    if (must_wait(**open, attempt))
      return failed(EAGAIN);
    Fd again(::openat((*open)->fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!again)
      return failed(errno);
    (*open)->listing = std::make_unique<Listing>(std::move(again), true);
    (*open)->listing->prefetch();
  }
  Listing& entries = *(*open)->listing;
  const std::uint64_t space = std::min(request.buffer_size, kMaxListingBytes);
  proto::GetDEnts64Response response{request.remote_fd, {}, 0};
  while (true) {
    const Listing::State state = entries.peek(attempt);
    if (state == Listing::State::kEntry) {
      const std::uint64_t size = record_size(entries.entry());
      if (response.result_size + size <= space) {
        response.result_size += size;
        response.entries.push_back(entries.take());
        continue;
      }
      if (response.entries.empty())
        return failed(EINVAL);  // not even one fits, as Linux says it
      break;
    }
    if (state == Listing::State::kEnd || !response.entries.empty())
      break;
    would_block_ = state == Listing::State::kWouldBlock;
    return failed(would_block_ ? EAGAIN : errno);
  }
  return response;
}

}  // namespace mirrord::agent
