// hook/rare_paths.cpp — functions on paths that few programs call, and those of old C libraries.
#include "hook/original.h"
#include "hook/remote_file.h"

using namespace mirrord::hook;

namespace {

// What is neither looked at nor made through the protocol.
int refuse(const Target& target) {
  return fail_with(target.kind() == Target::kNotFound ? ENOENT : EOPNOTSUPP);
}

}  // namespace

int hk___xmknod(int version, const char* path, mode_t mode, dev_t* device) {
  Target target(path, true);
  return target.is_local() ? ORIGINAL(__xmknod)(version, target.path(), mode, device)
                           : refuse(target);
}

int hk___xmknodat(int version, int directory, const char* path, mode_t mode, dev_t* device) {
  Target target(directory, path, true);
  return target.is_local() ? ORIGINAL(__xmknodat)(version, directory, target.path(), mode, device)
                           : refuse(target);
}

int hk_name_to_handle_at(int directory, const char* path, struct file_handle* handle, int* mount_id,
                         int flags) {
  Target target(directory, path, false, (flags & AT_EMPTY_PATH) != 0);
  return target.is_local()
             ? ORIGINAL(name_to_handle_at)(directory, target.path(), handle, mount_id, flags)
             : refuse(target);
}

key_t hk_ftok(const char* path, int project) {
  Target target(path, false);
  if (target.is_local()) {
    return ORIGINAL(ftok)(target.path(), project);
  }
  mirrord::local::Metadata metadata = {};
  if (metadata_at(target, 0, metadata) != 0) {
    return -1;
  }
  // As in glibc and musl.
  return static_cast<key_t>((metadata.inode & 0xFFFF) | (metadata.device & 0xFF) << 16 |
                            static_cast<uint64_t>(project & 0xFF) << 24);
}

// Limits of a remote file system: those of the root's here, which are the same for every usual one.
long hk_pathconf(const char* path, int name) {
  Target target(path, false);
  if (target.is_local()) {
    return ORIGINAL(pathconf)(target.path(), name);
  }
  mirrord::local::Metadata metadata = {};
  return metadata_at(target, 0, metadata) != 0 ? -1 : ORIGINAL(pathconf)("/", name);
}
