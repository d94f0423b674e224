// hook/realpath.cpp — realpath on remote paths: links are resolved one name at a time, remotely.
#include "hook/ipc.h"
#include "hook/original.h"
#include "hook/remote_file.h"

using namespace mirrord::hook;

namespace {

constexpr int kMaxLinks = 40;

// Resolves into `resolved`; `rest` holds what is still to do. Both are path buffers.
class Resolver {
 public:
  Resolver(char* resolved, char* rest) : resolved_(resolved), rest_(rest) {}

  // 0 or an errno. `leaves` becomes true when a link leads to a path that is local.
  int resolve(const char* path, bool* leaves) {
    if (!set_rest(path, "")) {
      return ENAMETOOLONG;
    }
    length_ = 0;
    resolved_[0] = '\0';
    while (const char* name = next_name()) {
      if (strcmp(name, ".") == 0) {
        continue;
      }
      if (strcmp(name, "..") == 0) {
        drop_last();
        continue;
      }
      if (!append(name)) {
        return ENAMETOOLONG;
      }
      if (int error = follow(leaves); error != 0 || *leaves) {
        return error;
      }
    }
    if (length_ == 0) {
      append("");
    }
    return 0;
  }

 private:
  // The next name of `rest`, cut out of it.
  char* next_name() {
    while (rest_[at_] == '/') {
      ++at_;
    }
    if (rest_[at_] == '\0') {
      return nullptr;
    }
    char* name = rest_ + at_;
    while (rest_[at_] != '/' && rest_[at_] != '\0') {
      ++at_;
    }
    is_last_ = rest_[at_] == '\0';
    if (!is_last_) {
      rest_[at_++] = '\0';
    }
    return name;
  }

  bool append(const char* name) {
    size_t size = strlen(name);
    if (length_ + size + 2 > mirrord::local::kMaxPath) {
      return false;
    }
    resolved_[length_++] = '/';
    __builtin_memcpy(resolved_ + length_, name, size + 1);
    length_ += size;
    return true;
  }

  void drop_last() {
    while (length_ > 0 && resolved_[--length_] != '/') {
    }
    resolved_[length_] = '\0';
  }

  bool set_rest(const char* first, const char* second) {
    size_t first_size = strlen(first);
    size_t second_size = strlen(second);
    if (first_size + second_size + 2 > mirrord::local::kMaxPath) {
      return false;
    }
    memmove(rest_ + first_size + (second_size != 0 ? 1 : 0), second, second_size + 1);
    if (second_size != 0) {
      rest_[first_size] = '/';
    }
    memmove(rest_, first, first_size);
    if (second_size == 0) {
      rest_[first_size] = '\0';
    }
    at_ = 0;
    return true;
  }

  // What stands in `resolved` now: is it a link?
  int follow(bool* leaves) {
    Target target(resolved_, false);
    if (target.is_local()) {
      return 0;  // a folder above the remote part
    }
    PathBuffer text;
    if (text.data() == nullptr) {
      return ENOMEM;
    }
    ssize_t size = hk_readlink(resolved_, text.data(), mirrord::local::kMaxPath - 1);
    if (size < 0) {
      return errno == EINVAL ? 0 : errno;  // no link
    }
    if (++links_ > kMaxLinks) {
      return ELOOP;
    }
    text.data()[size] = '\0';
    if (!set_rest(text.data(), is_last_ ? "" : rest_ + at_)) {
      return ENAMETOOLONG;
    }
    if (text.data()[0] == '/') {
      length_ = 0;
      resolved_[0] = '\0';
      *leaves = Target(rest_, false).is_local();
    } else {
      drop_last();
    }
    return 0;
  }

  char* resolved_;
  char* rest_;
  size_t length_ = 0;
  size_t at_ = 0;
  bool is_last_ = false;
  int links_ = 0;
};

char* give_result(const char* resolved, char* room) {
  size_t size = strlen(resolved) + 1;
  if (room == nullptr) {
    room = static_cast<char*>(malloc(size));
  }
  if (room == nullptr) {
    return fail_null(ENOMEM);
  }
  __builtin_memcpy(room, resolved, size);
  return room;
}

char* remote_realpath(const Target& target, char* room) {
  if (int error = target.early_error()) {
    return fail_null(error);
  }
  PathBuffer resolved;
  PathBuffer rest;
  if (resolved.data() == nullptr || rest.data() == nullptr) {
    return fail_null(ENOMEM);
  }
  SavedErrno saved;
  Resolver resolver(resolved.data(), rest.data());
  bool leaves = false;
  int error = resolver.resolve(target.path(), &leaves);
  char* result = nullptr;
  if (error == 0) {
    result = leaves ? ORIGINAL(realpath)(rest.data(), room) : give_result(resolved.data(), room);
    error = result == nullptr ? errno : 0;
  }
  if (result == nullptr) {
    saved.set(error);
  }
  return result;
}

}  // namespace

extern "C" {

char* hk_realpath(const char* path, char* room) {
  Target target(path, false);
  return MIRRORD_LIKELY(target.is_local()) ? ORIGINAL(realpath)(target.path(), room)
                                           : remote_realpath(target, room);
}

char* hk___realpath_chk(const char* path, char* room, size_t) {
  return hk_realpath(path, room);
}

char* hk_canonicalize_file_name(const char* path) {
  return hk_realpath(path, nullptr);
}

}  // extern "C"
