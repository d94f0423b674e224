// hook/working_directory.cpp — a working directory that lies in the target, and the hooks that set
// and tell it.
#include "hook/working_directory.h"

#include "hook/original.h"
#include "hook/remote_file.h"
#include "hook/session.h"

namespace mirrord::hook {

std::atomic<bool> working_directory_is_remote{false};

namespace {

// Guarded by a sequence number: odd while it changes. Readers copy and check.
char current[local::kMaxPath];
std::atomic<uint32_t> sequence{0};

void set_working_directory(const char* path) {
  sequence.fetch_add(1, std::memory_order_acq_rel);
  size_t length = least(strlen(path), sizeof current - 1);
  __builtin_memcpy(current, path, length);
  current[length] = '\0';
  sequence.fetch_add(1, std::memory_order_acq_rel);
  working_directory_is_remote.store(true, std::memory_order_release);
}

// Programs that the hook does not reach must not take the old folder for this one: for them the
// working directory is a removed one, where nothing is found and nothing can be made.
void leave_real_directory() {
  TextBuffer<320> path;
  path.text(session.directory).text("/nowhere-").number(random_key(), 36);
  if (path.is_cut() || failed(raw(SYS_mkdirat, AT_FDCWD, path.c_str(), 0700))) {
    return;
  }
  raw(SYS_chdir, path.c_str());
  raw(SYS_unlinkat, AT_FDCWD, path.c_str(), AT_REMOVEDIR);
}

int change_locally(const char* path) {
  int result = ORIGINAL(chdir)(path);
  if (result == 0) {
    working_directory_is_remote.store(false, std::memory_order_release);
  }
  return result;
}

// `path` is absolute; the folder must exist in the target.
int change_remotely(const char* path) {
  PathBuffer buffer;
  if (buffer.data() == nullptr || strlen(path) >= local::kMaxPath) {
    return fail_with(ENAMETOOLONG);
  }
  __builtin_memcpy(buffer.data(), path, strlen(path) + 1);
  normalise_path(buffer.data());
  Target target(buffer.data(), false);
  if (target.is_local()) {
    return change_locally(target.path());
  }
  local::Metadata metadata = {};
  if (metadata_at(target, 0, metadata) != 0) {
    // A folder that only this machine has, such as a project's: work goes on there.
    return errno == ENOENT ? change_locally(buffer.data()) : -1;
  }
  if (!S_ISDIR(metadata.mode)) {
    return fail_with(ENOTDIR);
  }
  if (!has_remote_working_directory()) {
    leave_real_directory();
  }
  set_working_directory(buffer.data());
  return 0;
}

char* give_working_directory(char* room, size_t size) {
  PathBuffer buffer;
  size_t length = buffer.data() != nullptr ? copy_working_directory(buffer.data()) : 0;
  if (length == 0) {
    return fail_null(ENOMEM);
  }
  if (room == nullptr) {
    room = static_cast<char*>(malloc(size > length ? size : length + 1));
  } else if (size == 0) {
    return fail_null(EINVAL);
  } else if (size <= length) {
    return fail_null(ERANGE);
  }
  if (room != nullptr) {
    __builtin_memcpy(room, buffer.data(), length + 1);
  }
  return room;
}

}  // namespace

void normalise_path(char* path) {
  size_t end = 0;
  for (const char* at = path; *at != '\0';) {
    while (*at == '/') {
      ++at;
    }
    size_t size = strcspn(at, "/");
    if (size == 2 && at[0] == '.' && at[1] == '.') {
      while (end > 0 && path[--end] != '/') {
      }
    } else if (size != 0 && !(size == 1 && at[0] == '.')) {
      path[end++] = '/';
      memmove(path + end, at, size);
      end += size;
    }
    at += size;
  }
  if (end == 0) {
    path[end++] = '/';
  }
  path[end] = '\0';
}

size_t copy_working_directory(char* buffer) {
  for (int i = 0; i < 1000 && has_remote_working_directory(); ++i) {
    uint32_t before = sequence.load(std::memory_order_acquire);
    size_t length = strnlen(current, sizeof current - 1);
    __builtin_memcpy(buffer, current, length);
    buffer[length] = '\0';
    std::atomic_thread_fence(std::memory_order_acquire);
    if (before % 2 == 0 && sequence.load(std::memory_order_relaxed) == before) {
      return length;
    }
  }
  return 0;
}

size_t join_path(char* buffer, const char* directory, const char* path) {
  size_t first = strlen(directory);
  size_t second = strlen(path);
  if (first + second + 2 > local::kMaxPath) {
    return 0;
  }
  memmove(buffer, directory, first);
  if (second != 0) {
    buffer[first++] = '/';
  }
  __builtin_memcpy(buffer + first, path, second);
  buffer[first + second] = '\0';
  return first + second;
}

void take_inherited_working_directory() {
  // A program without the hook in between may have gone somewhere real since.
  PathBuffer real;
  bool is_removed =
      real.data() != nullptr && raw(SYS_getcwd, real.data(), local::kMaxPath) == -ENOENT;
  const char* directory = environment_value(kWorkingDirectoryVariable);
  if (directory != nullptr && is_removed) {
    set_working_directory(directory);
  }
  remove_variable(kWorkingDirectoryVariable);
}

}  // namespace mirrord::hook

using namespace mirrord::hook;

extern "C" {

int hk_chdir(const char* path) {
  Target target(path, false);
  if (target.is_local()) {
    return change_locally(target.path());
  }
  int error = target.early_error();
  return error != 0 ? fail_with(error) : change_remotely(target.path());
}

int hk_fchdir(int fd) {
  RecordRef record(fd, RecordType::kFile);
  if (!record || !is_active()) {
    int result = ORIGINAL(fchdir)(fd);
    if (result == 0) {
      working_directory_is_remote.store(false, std::memory_order_release);
    }
    return result;
  }
  if (record->file.path == nullptr) {
    return fail_with(ENOTDIR);
  }
  return change_remotely(record->file.path);
}

char* hk_getcwd(char* room, size_t size) {
  return MIRRORD_LIKELY(!has_remote_working_directory()) ? ORIGINAL(getcwd)(room, size)
                                                         : give_working_directory(room, size);
}

char* hk___getcwd_chk(char* room, size_t size, size_t) {
  return hk_getcwd(room, size);
}

char* hk_get_current_dir_name() {
  return MIRRORD_LIKELY(!has_remote_working_directory()) ? ORIGINAL(get_current_dir_name)()
                                                         : give_working_directory(nullptr, 0);
}

char* hk_getwd(char* room) {
  return MIRRORD_LIKELY(!has_remote_working_directory())
             ? ORIGINAL(getwd)(room)
             : give_working_directory(room, mirrord::local::kMaxPath);
}

}  // extern "C"
