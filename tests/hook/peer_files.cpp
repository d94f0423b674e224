// tests/hook/peer_files.cpp — the scripted peer's files.
#include "tests/hook/peer_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "tests/hook/peer_session.h"

namespace mirrord::peer {
namespace {

template <class T>
T fixed(const std::string& packet) {
  T value = {};
  std::memcpy(&value, packet.data(), std::min(sizeof value, packet.size()));
  return value;
}

template <class T>
std::string rest(const std::string& packet) {
  return packet.size() > sizeof(T) ? packet.substr(sizeof(T)) : std::string();
}

template <class T>
Reply reply_with(const T& value) {
  return {0, std::string(reinterpret_cast<const char*>(&value), sizeof value), -1};
}

Reply failure(int error) {
  return {error, {}, -1};
}

Reply result(long value) {
  return failure(value < 0 ? errno : 0);
}

local::Metadata metadata_from(const struct stat& status) {
  local::Metadata data = {};
  data.device = 4242;  // no local file has it
  data.inode = status.st_ino;
  data.link_count = status.st_nlink;
  data.rdevice = status.st_rdev;
  data.size = static_cast<uint64_t>(status.st_size);
  data.block_size = static_cast<uint64_t>(status.st_blksize);
  data.blocks = static_cast<uint64_t>(status.st_blocks);
  data.mode = status.st_mode;
  data.user_id = status.st_uid;
  data.group_id = status.st_gid;
  data.access_ns = status.st_atim.tv_sec * 1'000'000'000 + status.st_atim.tv_nsec;
  data.modification_ns = status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec;
  data.change_ns = status.st_ctim.tv_sec * 1'000'000'000 + status.st_ctim.tv_nsec;
  return data;
}

local::FsMetadata metadata_from(const struct statfs& status) {
  local::FsMetadata data = {};
  data.type = 0x4d495252;
  data.block_size = status.f_bsize;
  data.blocks = status.f_blocks;
  data.blocks_free = status.f_bfree;
  data.blocks_available = status.f_bavail;
  data.files = status.f_files;
  data.files_free = status.f_ffree;
  data.name_length = status.f_namelen;
  data.fragment_size = status.f_frsize;
  return data;
}

void copy_range(int from, int to, uint64_t offset, uint64_t length) {
  std::string buffer(1 << 16, '\0');
  while (length > 0) {
    ssize_t got = ::pread(from, buffer.data(), std::min<uint64_t>(buffer.size(), length),
                          static_cast<off_t>(offset));
    if (got <= 0) {
      return;
    }
    (void)!::pwrite(to, buffer.data(), static_cast<size_t>(got), static_cast<off_t>(offset));
    offset += static_cast<uint64_t>(got);
    length -= static_cast<uint64_t>(got);
  }
}

uint64_t size_of(int fd) {
  struct stat status = {};
  ::fstat(fd, &status);
  return static_cast<uint64_t>(status.st_size);
}

}  // namespace

OpenFile::~OpenFile() {
  for (int each : {fd, memfd, stream}) {
    if (each >= 0) {
      ::close(each);
    }
  }
}

std::string Files::served(Handles& handles, local::Handle directory, const std::string& path) {
  if (directory != 0) {
    auto found = handles.find(directory);
    int fd = found == handles.end() ? -1 : found->second->fd;
    return "/proc/self/fd/" + std::to_string(fd) + "/" + path;
  }
  for (const char* prefix : {kRemotePrefix, kReadOnlyPrefix}) {
    if (path.rfind(prefix, 0) == 0) {
      return options_.root + path.substr(std::strlen(prefix));
    }
  }
  return "/nonexistent";
}

void Files::drain(OpenFile& file) {
  char buffer[4096];
  ssize_t got = 0;
  while (file.stream >= 0 && (got = ::recv(file.stream, buffer, sizeof buffer, MSG_DONTWAIT)) > 0) {
    (void)!::write(file.fd, buffer, static_cast<size_t>(got));
  }
}

// What was written before this request is in the files before it is answered.
void Files::drain_all() {
  std::erase_if(streams_, [this](const std::weak_ptr<OpenFile>& stream) {
    const std::shared_ptr<OpenFile> file = stream.lock();
    if (file != nullptr) {
      drain(*file);
    }
    return file == nullptr;
  });
}

Reply Files::open(Handles& handles, const std::string& packet) {
  auto request = fixed<local::OpenRequest>(packet);
  std::string path = served(handles, request.directory, rest<local::OpenRequest>(packet));
  int flags = static_cast<int>(request.flags);
  auto file = std::make_shared<OpenFile>();
  file->fd = ::open(path.c_str(), flags | O_CLOEXEC | O_NOCTTY, request.mode);
  if (file->fd < 0) {
    return failure(errno);
  }
  struct stat status = {};
  ::fstat(file->fd, &status);
  local::OpenReply reply = {};
  reply.slot = local::kNoSlot;
  reply.metadata = metadata_from(status);
  reply.handle = next_handle_++;
  file->memfd = ::memfd_create("peer", MFD_CLOEXEC);
  Reply answer;
  answer.descriptor = ::dup(file->memfd);
  if ((flags & O_PATH) != 0) {
    file->kind = local::FileKind::kPath;
  } else if (S_ISDIR(status.st_mode)) {
    file->kind = local::FileKind::kDirectory;
  } else if ((flags & O_ACCMODE) == O_WRONLY) {
    file->kind = local::FileKind::kStream;
    int ends[2];
    ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends);
    file->stream = ends[0];
    streams_.push_back(file);
    // Whoever writes more than the socket holds waits for this.
    std::thread([this, weak = std::weak_ptr<OpenFile>(file), fd = ::dup(ends[0])] {
      pollfd poll_fd = {fd, POLLIN, 0};
      while (::poll(&poll_fd, 1, -1) == 1 && (poll_fd.revents & POLLHUP) == 0) {
        std::lock_guard lock(mutex_);
        if (const std::shared_ptr<OpenFile> written = weak.lock()) {
          drain(*written);
        } else {
          break;
        }
      }
      ::close(fd);
    }).detach();
    ::close(answer.descriptor);
    answer.descriptor = ends[1];
  } else if ((flags & O_ACCMODE) == O_RDONLY && S_ISREG(status.st_mode)) {
    file->kind = local::FileKind::kCached;
    reply.ready_end = reply.metadata.size;
    if (options_.window != 0 && reply.metadata.size > options_.window) {
      file->slot = static_cast<uint32_t>(reply.handle % local::kSlotCount);
      reply.slot = file->slot;
      reply.ready_end = 0;
      options_.slots[file->slot] = {};
      options_.slots[file->slot].file_size = reply.metadata.size;
      options_.slots[file->slot].handle = reply.handle;
    } else {
      copy_range(file->fd, file->memfd, 0, reply.metadata.size);
    }
  }
  reply.kind = file->kind;
  handles[reply.handle] = file;
  answer.bytes.assign(reinterpret_cast<const char*>(&reply), sizeof reply);
  return answer;
}

Reply Files::fetch(OpenFile& file, const local::RangeRequest& request) {
  local::RangeReply reply = {};
  reply.file_size = size_of(file.fd);
  if (file.slot == local::kNoSlot) {
    copy_range(file.fd, file.memfd, 0, reply.file_size);
    reply.end = reply.file_size;
    return reply_with(reply);
  }
  // A new window each time; everything else becomes a hole, as after a long read-ahead.
  local::FileSlot& slot = options_.slots[file.slot];
  uint64_t length = std::max<uint64_t>(request.length, options_.window);
  __atomic_store_n(&slot.end, 0, __ATOMIC_RELEASE);
  __atomic_add_fetch(&slot.generation, 1, __ATOMIC_ACQ_REL);
  (void)!::ftruncate(file.memfd, 0);
  uint64_t end = std::min(reply.file_size, request.offset + length);
  copy_range(file.fd, file.memfd, request.offset, length);
  (void)!::ftruncate(file.memfd, static_cast<off_t>(reply.file_size));
  slot.begin = request.offset;
  slot.file_size = reply.file_size;
  slot.wants_nudge = 1;
  __atomic_store_n(&slot.end, std::max(end, request.offset), __ATOMIC_RELEASE);
  reply.begin = request.offset;
  reply.end = slot.end;
  return reply_with(reply);
}

Reply Files::list(OpenFile& file) {
  int fd = ::openat(file.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  char buffer[4096];
  long got = 0;
  off_t at = 0;
  (void)!::ftruncate(file.memfd, 0);
  while ((got = getdents64(fd, buffer, sizeof buffer)) > 0) {
    for (long i = 0; i < got;) {  // d_off: where the next record begins
      auto* entry = reinterpret_cast<dirent64*>(buffer + i);
      i += entry->d_reclen;
      entry->d_off = at + i;
    }
    (void)!::pwrite(file.memfd, buffer, static_cast<size_t>(got), at);
    at += got;
  }
  ::close(fd);
  local::RangeReply reply = {0, static_cast<uint64_t>(at), static_cast<uint64_t>(at)};
  return reply_with(reply);
}

Reply Files::on_handle(OpenFile& file, local::MessageType type, const std::string& packet) {
  using local::MessageType;
  auto range = fixed<local::RangeRequest>(packet);
  auto attributes = fixed<local::AttributeRequest>(packet);
  bool here = range.offset == local::kAtPosition;
  off_t offset = static_cast<off_t>(range.offset);
  struct stat status = {};
  struct statfs system = {};
  switch (type) {
    case MessageType::kFetch:
      return fetch(file, range);
    case MessageType::kFetchAll: {
      copy_range(file.fd, file.memfd, 0, size_of(file.fd));
      local::RangeReply reply = {0, size_of(file.fd), size_of(file.fd)};
      return reply_with(reply);
    }
    case MessageType::kList:
      return list(file);
    case MessageType::kRead: {
      std::string data(std::min<uint64_t>(range.length, local::kMaxData), '\0');
      ssize_t got = here ? ::read(file.fd, data.data(), data.size())
                         : ::pread(file.fd, data.data(), data.size(), offset);
      data.resize(got < 0 ? 0 : static_cast<size_t>(got));
      return got < 0 ? failure(errno) : Reply{0, data, -1};
    }
    case MessageType::kWrite: {
      std::string data = rest<local::RangeRequest>(packet);
      ssize_t put = here ? ::write(file.fd, data.data(), data.size())
                         : ::pwrite(file.fd, data.data(), data.size(), offset);
      return put < 0 ? failure(errno) : reply_with(local::CountReply{static_cast<uint64_t>(put)});
    }
    case MessageType::kSeek: {
      off_t at = ::lseek(file.fd, offset, static_cast<int>(range.flags));
      return at < 0 ? failure(errno) : reply_with(local::CountReply{static_cast<uint64_t>(at)});
    }
    case MessageType::kSync:
      return failure(0);
    case MessageType::kTruncate:
      return result(::ftruncate(file.fd, offset));
    case MessageType::kStatHandle:
      return ::fstat(file.fd, &status) != 0 ? failure(errno) : reply_with(metadata_from(status));
    case MessageType::kStatFsHandle:
      return ::fstatfs(file.fd, &system) != 0 ? failure(errno) : reply_with(metadata_from(system));
    case MessageType::kSetMode:
      return result(::fchmod(file.fd, attributes.mode));
    case MessageType::kSetOwner:
      return result(::fchown(file.fd, attributes.owner, attributes.group));
    case MessageType::kSetTimes: {
      struct timespec times[2] = {{attributes.times[0], attributes.times[1]},
                                  {attributes.times[2], attributes.times[3]}};
      return result(::futimens(file.fd, attributes.has_times != 0 ? times : nullptr));
    }
    default:
      return failure(ENOSYS);
  }
}

Reply Files::map_path(const std::string& path) {
  local::MapReply reply = {local::Decision::kRemote, local::Decision::kRemote, {}};
  std::string mapped;
  if (path.rfind(kMappedLocal, 0) == 0) {
    reply.read = reply.write = local::Decision::kLocal;
    mapped = options_.local_root + path.substr(std::strlen(kMappedLocal));
  } else {
    mapped = kRemotePrefix + path.substr(std::strlen(kMappedPrefix));
  }
  Reply answer = reply_with(reply);
  answer.bytes += mapped;
  return answer;
}

Reply Files::on_path(Handles& handles, local::MessageType type, const std::string& packet) {
  using local::MessageType;
  auto request = fixed<local::PathRequest>(packet);
  std::string text = rest<local::PathRequest>(packet);
  std::string first = text.substr(0, request.first_length);
  if (type == MessageType::kMapPath) {
    return map_path(first);
  }
  std::string path = served(handles, request.directory, first);
  int flags = static_cast<int>(request.flags);
  struct stat status = {};
  struct statfs system = {};
  struct timespec times[2] = {{request.times[0], request.times[1]},
                              {request.times[2], request.times[3]}};
  switch (type) {
    case MessageType::kStat:
      return ::fstatat(AT_FDCWD, path.c_str(), &status, flags) != 0
                 ? failure(errno)
                 : reply_with(metadata_from(status));
    case MessageType::kAccess:
      return result(::faccessat(AT_FDCWD, path.c_str(), static_cast<int>(request.mode), flags));
    case MessageType::kReadLink: {
      char target[4096];
      ssize_t size = ::readlink(path.c_str(), target, sizeof target);
      return size < 0 ? failure(errno)
                      : Reply{0, std::string(target, static_cast<size_t>(size)), -1};
    }
    case MessageType::kMakeDir:
      return result(::mkdir(path.c_str(), request.mode));
    case MessageType::kUnlink:
      return result(::unlinkat(AT_FDCWD, path.c_str(), flags));
    case MessageType::kRename:
      return result(
          ::rename(path.c_str(),
                   served(handles, request.directory, text.substr(request.first_length)).c_str()));
    case MessageType::kStatFs:
      return ::statfs(path.c_str(), &system) != 0 ? failure(errno)
                                                  : reply_with(metadata_from(system));
    case MessageType::kTruncatePath:
      return result(::truncate(path.c_str(), static_cast<off_t>(request.length)));
    case MessageType::kSetModePath:
      return result(::chmod(path.c_str(), request.mode));
    case MessageType::kSetOwnerPath:
      return result(::fchownat(AT_FDCWD, path.c_str(), request.owner, request.group, flags));
    case MessageType::kSetTimesPath:
      return result(
          ::utimensat(AT_FDCWD, path.c_str(), request.has_times != 0 ? times : nullptr, flags));
    default:
      return failure(ENOSYS);
  }
}

Reply Files::answer(Handles& handles, local::MessageType type, const std::string& packet) {
  std::lock_guard lock(mutex_);
  drain_all();
  if (type == local::MessageType::kOpen) {
    return open(handles, packet);
  }
  if (type >= local::MessageType::kStat) {
    return on_path(handles, type, packet);
  }
  auto found = handles.find(fixed<local::HandleRequest>(packet).handle);
  if (found == handles.end()) {
    return failure(EBADF);
  }
  if (type == local::MessageType::kClose) {
    handles.erase(found);
    return failure(0);
  }
  return on_handle(*found->second, type, packet);
}

}  // namespace mirrord::peer
