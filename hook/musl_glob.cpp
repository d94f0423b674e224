// hook/musl_glob.cpp — glob for musl: component for component, through the hooks. The values of flags
// and the layout of what it returns are musl's (on x86_64 and aarch64).
#include "hook/musl_glob.h"

#include <fnmatch.h>

#include "hook/directory_stream.h"
#include "hook/guard.h"
#include "hook/original.h"
#include "hook/remote_file.h"

namespace mirrord::hook {
namespace {

enum : int {  // GLOB_*
  kStopAtError = 0x01,
  kMarkDirectories = 0x02,
  kUnsorted = 0x04,
  kOffsets = 0x08,
  kKeepPattern = 0x10,
  kAppend = 0x20,
  kNoEscape = 0x40,
  kLeadingDots = 0x80,
};
enum : int { kNoSpace = 1, kAborted = 2, kNoMatch = 3 };

struct Result {  // glob_t
  size_t count;
  char** paths;
  size_t offset;
};

// musl frees the block that begins one pointer before the name.
struct Match {
  Match* next;
  char name[];
};

class Search {
 public:
  Search(int flags, int (*on_error)(const char*, int)) : flags_(flags), on_error_(on_error) {}
  ~Search() {
    const Guard guard;
    for (Match* match = first_; match != nullptr && !is_given_away_;) {
      Match* next = match->next;
      free(match);
      match = next;
    }
  }
  Search(const Search&) = delete;
  Search& operator=(const Search&) = delete;

  // 0 or one of the errors above.
  int run(const char* pattern) {
    if (path_.data() == nullptr || strlen(pattern) >= local::kMaxPath) {
      return kNoSpace;
    }
    const int error = step(pattern, 0);
    if (error == 0 && count_ == 0 && (flags_ & kKeepPattern) != 0) {
      return add(pattern, strlen(pattern)) ? 0 : kNoSpace;
    }
    return error != 0 ? error : count_ == 0 ? kNoMatch : 0;
  }

  int give_to(Result& result) {
    const size_t offset = (flags_ & kOffsets) != 0 ? result.offset : 0;
    const bool appends = (flags_ & kAppend) != 0;
    const size_t old = appends ? result.count : 0;
    const Guard guard;
    auto** paths = static_cast<char**>(
        realloc(appends ? result.paths : nullptr, (offset + old + count_ + 1) * sizeof(char*)));
    if (paths == nullptr) {
      return kNoSpace;
    }
    for (size_t i = 0; i < offset && !appends; ++i) {
      paths[i] = nullptr;
    }
    char** to = paths + offset + old;
    for (Match* match = first_; match != nullptr; match = match->next) {
      *to++ = match->name;
    }
    *to = nullptr;
    if ((flags_ & kUnsorted) == 0) {
      qsort(paths + offset + old, count_, sizeof(char*), [](const void* a, const void* b) {
        return strcmp(*static_cast<char* const*>(a), *static_cast<char* const*>(b));
      });
    }
    result.paths = paths;
    result.count = old + count_;
    is_given_away_ = true;
    return 0;
  }

 private:
  bool add(const char* path, size_t length) {
    const Guard guard;
    auto* match = static_cast<Match*>(malloc(sizeof(Match) + length + 1));
    if (match == nullptr) {
      return false;
    }
    match->next = nullptr;
    __builtin_memcpy(match->name, path, length);
    match->name[length] = '\0';
    (last_ != nullptr ? last_->next : first_) = match;
    last_ = match;
    ++count_;
    return true;
  }

  // The path so far, `length` bytes, is whole: a match if it is there.
  int finish(size_t length, bool is_known_directory) {
    path_.data()[length] = '\0';
    struct stat status = {};
    if (length == 0 ||
        (hk_stat(path_.data(), &status) != 0 && hk_lstat(path_.data(), &status) != 0)) {
      return 0;
    }
    const bool is_directory = S_ISDIR(status.st_mode);
    if (is_known_directory && !is_directory) {
      return 0;
    }
    if (is_directory && (flags_ & kMarkDirectories) != 0 && path_.data()[length - 1] != '/') {
      path_.data()[length++] = '/';
    }
    return add(path_.data(), length) ? 0 : kNoSpace;
  }

  static bool has_wildcard(const char* part, size_t length) {
    for (size_t i = 0; i < length; ++i) {
      if (part[i] == '*' || part[i] == '?' || part[i] == '[') {
        return true;
      }
    }
    return false;
  }

  // Appends a component without wildcards, its escapes taken away. The new length; 0: too long.
  size_t put_literal(const char* part, size_t size, size_t length) {
    for (size_t i = 0; i < size; ++i) {
      if (part[i] == '\\' && i + 1 < size && (flags_ & kNoEscape) == 0) {
        ++i;
      }
      if (length + 2 >= local::kMaxPath) {
        return 0;
      }
      path_.data()[length++] = part[i];
    }
    return length;
  }

  // Goes on with `pattern` below the first `length` bytes of the path. Literal components are
  // walked here, one with wildcards calls back for each entry.
  int step(const char* pattern, size_t length) {
    while (true) {
      bool had_slash = false;
      for (; *pattern == '/'; ++pattern) {
        had_slash = true;
        if (length + 2 >= local::kMaxPath) {
          return 0;
        }
        path_.data()[length++] = '/';
      }
      if (*pattern == '\0') {
        return finish(length, had_slash);
      }
      const char* slash = strchr(pattern, '/');
      const size_t size = slash != nullptr ? static_cast<size_t>(slash - pattern) : strlen(pattern);
      if (has_wildcard(pattern, size)) {
        return list(pattern, size, length);
      }
      const size_t next = put_literal(pattern, size, length);
      if (next == 0) {
        return 0;
      }
      length = next;
      pattern += size;
    }
  }

  int list(const char* part, size_t size, size_t length) {
    PathBuffer component;
    if (component.data() == nullptr) {
      return kNoSpace;
    }
    __builtin_memcpy(component.data(), part, size);
    component.data()[size] = '\0';
    path_.data()[length] = '\0';
    DIR* stream = hk_opendir(length == 0 ? "." : path_.data());
    if (stream == nullptr) {
      const bool stops = (on_error_ != nullptr && on_error_(path_.data(), errno) != 0) ||
                         (flags_ & kStopAtError) != 0;
      return stops ? kAborted : 0;
    }
    const int match_flags = ((flags_ & kNoEscape) != 0 ? FNM_NOESCAPE : 0) |
                            ((flags_ & kLeadingDots) != 0 ? 0 : FNM_PERIOD);
    int error = 0;
    while (error == 0) {
      const struct dirent* entry = hk_readdir(stream);
      if (entry == nullptr) {
        break;
      }
      const size_t name = strlen(entry->d_name);
      if (length + name + 2 < local::kMaxPath &&
          fnmatch(component.data(), entry->d_name, match_flags) == 0) {
        __builtin_memcpy(path_.data() + length, entry->d_name, name);
        error = step(part + size, length + name);
      }
    }
    hk_closedir(stream);
    return error;
  }

  PathBuffer path_;
  int flags_;
  int (*on_error_)(const char*, int);
  Match* first_ = nullptr;
  Match* last_ = nullptr;
  size_t count_ = 0;
  bool is_given_away_ = false;
};

}  // namespace

int glob_as_musl(const char* pattern, int flags, int (*on_error)(const char*, int), void* result) {
  auto& found = *static_cast<Result*>(result);
  if ((flags & kAppend) == 0) {
    found.count = 0;
    found.paths = nullptr;
    if ((flags & kOffsets) == 0) {
      found.offset = 0;
    }
  }
  const SavedErrno saved;
  Search search(flags, on_error);
  const int error = search.run(pattern);
  return error != 0 ? error : search.give_to(found);
}

}  // namespace mirrord::hook
