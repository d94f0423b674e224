// applets/intproxy/remote_descriptors.cpp — numbers, records, and what requests may be repeated.
#include "applets/intproxy/remote_descriptors.h"

#include <sys/stat.h>

#include <algorithm>

namespace mirrord::intproxy {

std::optional<RemoteDescriptors::Number> RemoteDescriptors::at_agent(Number number) const {
  if (number >= floor_) {
    return floor_ == kNone ? std::nullopt : std::optional(number - offset_);
  }
  const auto found = renamed_.find(number);
  return found == renamed_.end() ? std::nullopt : std::optional(found->second);
}

RemoteDescriptors::Number RemoteDescriptors::from_agent(Number there) {
  const Number number = there + offset_;
  beyond_all_ = std::max(beyond_all_, number + 1);
  return number;
}

void RemoteDescriptors::sent(Number number) {
  if (number < floor_) {
    renamed_[number] = opens_there_;
  }
  ++opens_there_;
}

void RemoteDescriptors::restart() {
  renamed_.clear();
  opens_there_ = 0;
  floor_ = kNone;
}

void RemoteDescriptors::settle(bool numbers_in_order) {
  floor_ = numbers_in_order ? next_taken_ : beyond_all_;
  // May wrap around below zero: it is only ever added and subtracted.
  offset_ = numbers_in_order ? next_taken_ - opens_there_ : beyond_all_;
}

void RemoteDescriptors::seen(Number number, const proto::MetadataInternal& metadata) {
  if (const auto found = records_.find(number); found != records_.end()) {
    found->second.metadata = metadata;
  }
}

void RemoteDescriptors::moved(Number number, std::uint64_t position) {
  if (const auto found = records_.find(number); found != records_.end()) {
    found->second.position = position;
  }
}

void RemoteDescriptors::advanced(Number number, std::uint64_t count) {
  if (const auto found = records_.find(number); found != records_.end()) {
    found->second.position += count;
  }
}

void RemoteDescriptors::closed(Number number) {
  records_.erase(number);
  renamed_.erase(number);
}

proto::u64* descriptor_in(proto::FileRequest& request) {
  using R = proto::FileRequest;
  switch (request.index()) {
    case R::index_of<"OpenRelative">:
      return &request.get<"OpenRelative">().relative_fd;
    case R::index_of<"Read">:
      return &request.get<"Read">().remote_fd;
    case R::index_of<"ReadLimited">:
      return &request.get<"ReadLimited">().remote_fd;
    case R::index_of<"Seek">:
      return &request.get<"Seek">().fd;
    case R::index_of<"Write">:
      return &request.get<"Write">().fd;
    case R::index_of<"WriteLimited">:
      return &request.get<"WriteLimited">().remote_fd;
    case R::index_of<"Close">:
      return &request.get<"Close">().fd;
    case R::index_of<"Xstat">: {
      auto& fd = request.get<"Xstat">().fd;
      return fd ? &*fd : nullptr;
    }
    case R::index_of<"XstatFs">:
      return &request.get<"XstatFs">().fd;
    case R::index_of<"XstatFsV2">:
      return &request.get<"XstatFsV2">().fd;
    case R::index_of<"FdOpenDir">:
      return &request.get<"FdOpenDir">().remote_fd;
    case R::index_of<"ReadDir">:
      return &request.get<"ReadDir">().remote_fd;
    case R::index_of<"ReadDirBatch">:
      return &request.get<"ReadDirBatch">().remote_fd;
    case R::index_of<"CloseDir">:
      return &request.get<"CloseDir">().remote_fd;
    case R::index_of<"GetDEnts64">:
      return &request.get<"GetDEnts64">().remote_fd;
    case R::index_of<"MakeDirAt">:
      return &request.get<"MakeDirAt">().dirfd;
    case R::index_of<"UnlinkAt">: {
      auto& fd = request.get<"UnlinkAt">().dirfd;
      return fd ? &*fd : nullptr;
    }
    case R::index_of<"Ftruncate">:
      return &request.get<"Ftruncate">().fd;
    case R::index_of<"Futimens">:
      return &request.get<"Futimens">().fd;
    case R::index_of<"Fchown">:
      return &request.get<"Fchown">().fd;
    case R::index_of<"Fchmod">:
      return &request.get<"Fchmod">().fd;
    default:
      return nullptr;
  }
}

bool makes_descriptor(const proto::FileRequest& request) {
  return request.is<"Open">() || request.is<"OpenRelative">() || request.is<"FdOpenDir">();
}

bool is_repeatable(const proto::FileRequest& request) {
  using R = proto::FileRequest;
  switch (request.index()) {
    case R::index_of<"Open">: {
      const proto::OpenOptionsInternal& options = request.get<"Open">().open_options;
      return !options.write && !options.append && !options.truncate && !options.create &&
             !options.create_new;
    }
    // These move a position; that of a file which is opened again is where the last answer left it.
    case R::index_of<"Read">:
    case R::index_of<"Seek">:
    case R::index_of<"ReadDir">:
    case R::index_of<"ReadDirBatch">:
    case R::index_of<"ReadLimited">:
    case R::index_of<"Access">:
    case R::index_of<"Xstat">:
    case R::index_of<"XstatFs">:
    case R::index_of<"XstatFsV2">:
    case R::index_of<"StatFs">:
    case R::index_of<"StatFsV2">:
    case R::index_of<"FdOpenDir">:
    case R::index_of<"ReadLink">:
      return true;
    default:
      return false;
  }
}

bool is_same_content(const proto::MetadataInternal& before, const proto::MetadataInternal& now) {
  if ((before.mode & S_IFMT) != (now.mode & S_IFMT)) {
    return false;
  }
  const bool is_same_device = before.device_id == now.device_id;
  if (S_ISDIR(now.mode)) {
    return !is_same_device || before.inode == now.inode;
  }
  if (!S_ISREG(now.mode)) {
    return S_ISCHR(now.mode) && before.rdevice_id == now.rdevice_id;
  }
  return before.size == now.size && before.modification_time == now.modification_time &&
         (!is_same_device || before.inode == now.inode);
}

}  // namespace mirrord::intproxy
