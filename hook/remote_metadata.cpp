// hook/remote_metadata.cpp — metadata of remote files, and what changes it.
#include "hook/ipc.h"
#include "hook/remote_file.h"

namespace mirrord::hook {
namespace {

// Metadata that came with the open answers fstat for this long.
constexpr uint64_t kMetadataIsFreshFor = 1'000'000'000;

}  // namespace

int metadata_of(FileRecord& file, local::Metadata& metadata) {
  bool only_read = !is_writable(file) && file.kind != local::FileKind::kDirect;
  if (only_read && coarse_now_ns() - file.opened_ns < kMetadataIsFreshFor) {
    metadata = file.metadata;
    return 0;
  }
  local::HandleRequest request = {file.handle};
  int error = exchange(local::MessageType::kStatHandle, request, metadata);
  return result_of(error);
}

bool is_special(FileRecord& file) {
  if (file.metadata.mode == 0) {  // inherited through exec: not known yet
    SavedErrno saved;
    local::Metadata metadata = {};
    if (metadata_of(file, metadata) != 0) {
      return false;
    }
    file.metadata.mode = metadata.mode;
  }
  return !S_ISREG(file.metadata.mode) && !S_ISDIR(file.metadata.mode);
}

int metadata_at(const Target& target, int flags, local::Metadata& metadata) {
  if (int error = target.early_error()) {
    return fail_with(error);
  }
  if (target.kind() == Target::kHandle) {
    return metadata_of(target.file(), metadata);
  }
  local::PathRequest request = {};
  request.directory = target.directory();
  request.flags = static_cast<uint32_t>(flags & (AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT));
  request.first_length = static_cast<uint32_t>(target.length());
  return result_of(
      exchange(local::MessageType::kStat, request, metadata, target.path(), target.length()));
}

int ask_path(local::MessageType type, const Target& target, local::PathRequest& request) {
  if (int error = target.early_error()) {
    return fail_with(error);
  }
  request.directory = target.directory();
  request.first_length = static_cast<uint32_t>(target.length());
  return result_of(ask(type, request, target.path(), target.length()));
}

int remote_sync(FileRecord& file) {
  if (!is_writable(file)) {
    return file.kind == local::FileKind::kPath ? fail_with(EBADF) : 0;
  }
  local::HandleRequest request = {file.handle};
  return result_of(ask(local::MessageType::kSync, request));
}

int remote_truncate(FileRecord& file, off_t length) {
  if (!is_writable(file) || length < 0) {
    return fail_with(EINVAL);
  }
  local::RangeRequest request = {file.handle, static_cast<uint64_t>(length), 0, 0, 0};
  return result_of(ask(local::MessageType::kTruncate, request));
}

int remote_allocate(FileRecord& file, int mode, off_t offset, off_t length) {
  if (!is_writable(file)) {
    return fail_with(EBADF);
  }
  if (offset < 0 || length <= 0) {
    return fail_with(EINVAL);
  }
  if (mode == FALLOC_FL_KEEP_SIZE) {
    return 0;  // space is the target's affair
  }
  if (mode != 0) {
    return fail_with(EOPNOTSUPP);
  }
  local::Metadata metadata = {};
  if (metadata_of(file, metadata) != 0) {
    return -1;
  }
  if (metadata.size >= static_cast<uint64_t>(offset + length)) {
    return 0;
  }
  return remote_truncate(file, offset + length);
}

}  // namespace mirrord::hook
