// hook/directory_walk.cpp — the hooks whose originals read directories inside the C library:
// scandir, glob, ftw and nftw.
#include <ftw.h>
#include <glob.h>
#include <sys/mman.h>

#include "hook/directory_stream.h"
#include "hook/musl_glob.h"
#include "hook/original.h"
#include "hook/remote_file.h"

using namespace mirrord::hook;

namespace {

// ---- scandir

void free_entries(struct dirent** entries, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    free(entries[i]);
  }
  free(entries);
}

struct dirent* copy_of(const struct dirent* entry) {
  auto* copy = static_cast<struct dirent*>(malloc(entry->d_reclen));
  if (copy != nullptr) {
    __builtin_memcpy(copy, entry, entry->d_reclen);
  }
  return copy;
}

bool append(struct dirent*** entries, size_t* count, const struct dirent* entry) {
  if ((*count & (*count - 1)) == 0) {  // a power of two: full
    size_t room = *count == 0 ? 16 : *count * 2;
    void* grown = *count != 0 && *count < 16 ? *entries : realloc(*entries, room * sizeof(void*));
    if (grown == nullptr) {
      return false;
    }
    *entries = static_cast<struct dirent**>(grown);
  }
  struct dirent* copy = copy_of(entry);
  if (copy != nullptr) {
    (*entries)[(*count)++] = copy;
  }
  return copy != nullptr;
}

int scan(DIR* stream, struct dirent*** list, int (*filter)(const struct dirent*),
         int (*compare)(const struct dirent**, const struct dirent**)) {
  if (stream == nullptr) {
    return -1;
  }
  SavedErrno saved;
  struct dirent** entries = nullptr;
  size_t count = 0;
  errno = 0;
  while (const struct dirent* entry = hk_readdir(stream)) {
    if (filter != nullptr && filter(entry) == 0) {
      continue;
    }
    errno = 0;
    if (!append(&entries, &count, entry)) {
      errno = ENOMEM;
      break;
    }
  }
  int error = errno;
  hk_closedir(stream);
  if (error != 0) {
    free_entries(entries, count);
    saved.set(error);
    return -1;
  }
  if (compare != nullptr && count > 1) {
    qsort(entries, count, sizeof(void*),
          reinterpret_cast<int (*)(const void*, const void*)>(compare));
  }
  *list = entries != nullptr ? entries : static_cast<struct dirent**>(malloc(sizeof(void*)));
  return static_cast<int>(count);
}

DIR* open_stream_at(int directory, const char* path) {
  int fd = hk_openat(directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
  DIR* stream = fd >= 0 ? hk_fdopendir(fd) : nullptr;
  if (stream == nullptr && fd >= 0) {
    SavedErrno saved;
    hk_close(fd);
  }
  return stream;
}

// ---- glob: glibc reads directories through functions of ours when it is told to; for musl the whole
// work is done here (musl_glob.h)

void close_stream(void* stream) {
  hk_closedir(static_cast<DIR*>(stream));
}
struct dirent* read_stream(void* stream) {
  return hk_readdir(static_cast<DIR*>(stream));
}
void* open_stream(const char* path) {
  return hk_opendir(path);
}

// ---- nftw

using WalkFunction = int (*)(const char*, const struct stat*, int, struct FTW*);
using PlainFunction = int (*)(const char*, const struct stat*, int);

// A walk over a remote tree; the path lives in one buffer that grows and shrinks with the depth.
class Walk {
 public:
  Walk(WalkFunction nftw_function, PlainFunction ftw_function, int flags)
      : nftw_function_(nftw_function), ftw_function_(ftw_function), flags_(flags) {}

  int run(const char* root) {
    size_t length = strlen(root);
    if (path_.data() == nullptr || length + 1 > mirrord::local::kMaxPath) {
      return fail_with(ENAMETOOLONG);
    }
    __builtin_memcpy(path_.data(), root, length + 1);
    while (length > 1 && path_.data()[length - 1] == '/') {
      path_.data()[--length] = '\0';
    }
    int base = static_cast<int>(base_name(path_.data()) - path_.data());
    return visit(length, base, 0);
  }

 private:
  // `type` as glibc numbers them, from 0; musl begins with 1.
  int tell(const struct stat& status, int type, int base, int level) {
    int shift = is_glibc() ? 0 : 1;
    if (ftw_function_ != nullptr) {
      return ftw_function_(path_.data(), &status, (type == FTW_DP ? FTW_D : type) + shift);
    }
    struct FTW place = {base, level};
    return nftw_function_(path_.data(), &status, type + shift, &place);
  }

  int visit(size_t length, int base, int level) {
    struct stat status = {};
    bool physical = (flags_ & FTW_PHYS) != 0;
    int result = physical ? hk_lstat(path_.data(), &status) : hk_stat(path_.data(), &status);
    if (result != 0 && !physical && hk_lstat(path_.data(), &status) == 0) {
      return tell(status, ftw_function_ != nullptr ? FTW_NS : FTW_SLN, base, level);
    }
    if (result != 0) {
      return level == 0 ? -1 : tell(status, FTW_NS, base, level);
    }
    if (level == 0) {
      device_ = status.st_dev;
    }
    if ((flags_ & FTW_MOUNT) != 0 && status.st_dev != device_) {
      return 0;
    }
    if (S_ISDIR(status.st_mode)) {
      return visit_directory(status, length, base, level);
    }
    return tell(status, S_ISLNK(status.st_mode) ? FTW_SL : FTW_F, base, level);
  }

  int visit_directory(const struct stat& status, size_t length, int base, int level) {
    constexpr int kMaxLevel = 1024;
    DIR* stream = level < kMaxLevel ? hk_opendir(path_.data()) : nullptr;
    if (stream == nullptr) {
      return tell(status, FTW_DNR, base, level);
    }
    bool depth_first = (flags_ & FTW_DEPTH) != 0;
    int result = depth_first ? 0 : tell(status, FTW_D, base, level);
    if ((flags_ & FTW_ACTIONRETVAL) != 0 && result == FTW_SKIP_SUBTREE) {
      hk_closedir(stream);
      return 0;
    }
    while (result == 0) {
      const struct dirent* entry = hk_readdir(stream);
      if (entry == nullptr) {
        break;
      }
      result = visit_entry(entry->d_name, length, level);
    }
    hk_closedir(stream);
    path_.data()[length] = '\0';
    if ((flags_ & FTW_ACTIONRETVAL) != 0 && result == FTW_SKIP_SIBLINGS) {
      result = 0;
    }
    return result == 0 && depth_first ? tell(status, FTW_DP, base, level) : result;
  }

  int visit_entry(const char* name, size_t length, int level) {
    size_t size = strlen(name);
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
      return 0;
    }
    if (length + size + 2 > mirrord::local::kMaxPath) {
      return fail_with(ENAMETOOLONG);
    }
    size_t base = path_.data()[length - 1] == '/' ? length : length + 1;
    path_.data()[base - 1] = '/';
    __builtin_memcpy(path_.data() + base, name, size + 1);
    return visit(base + size, static_cast<int>(base), level + 1);
  }

  PathBuffer path_;
  WalkFunction nftw_function_;
  PlainFunction ftw_function_;
  int flags_;
  dev_t device_ = 0;
};

}  // namespace

extern "C" {

int hk_scandir(const char* path, struct dirent*** list, int (*filter)(const struct dirent*),
               int (*compare)(const struct dirent**, const struct dirent**)) {
  Target target(path, false);
  return MIRRORD_LIKELY(target.is_local()) ? ORIGINAL(scandir)(target.path(), list, filter, compare)
                                           : scan(hk_opendir(path), list, filter, compare);
}

int hk_scandirat(int directory, const char* path, struct dirent*** list,
                 int (*filter)(const struct dirent*),
                 int (*compare)(const struct dirent**, const struct dirent**)) {
  Target target(directory, path, false);
  return MIRRORD_LIKELY(target.is_local())
             ? ORIGINAL(scandirat)(directory, target.path(), list, filter, compare)
             : scan(open_stream_at(directory, path), list, filter, compare);
}

int hk_glob(const char* pattern, int flags, int (*on_error)(const char*, int), void* result) {
  bool ours_to_do = pattern != nullptr && files_active() &&
                    (pattern[0] == '/' || has_remote_working_directory()) &&
                    (flags & GLOB_ALTDIRFUNC) == 0;
  if (ours_to_do && !is_glibc()) {
    return glob_as_musl(pattern, flags, on_error, result);
  }
  if (ours_to_do) {
    auto* found = static_cast<glob_t*>(result);
    found->gl_closedir = close_stream;
    found->gl_readdir = read_stream;
    found->gl_opendir = open_stream;
    found->gl_lstat = hk_lstat;
    found->gl_stat = hk_stat;
    flags |= GLOB_ALTDIRFUNC;
  }
  return ORIGINAL(glob)(pattern, flags, on_error, result);
}

int hk_nftw(const char* root, int (*function)(const char*, const struct stat*, int, struct FTW*),
            int descriptors, int flags) {
  Target target(root, false);
  if (MIRRORD_LIKELY(target.is_local())) {
    return ORIGINAL(nftw)(target.path(), function, descriptors, flags);
  }
  return Walk(function, nullptr, flags & ~FTW_CHDIR).run(root);
}

int hk_ftw(const char* root, int (*function)(const char*, const struct stat*, int),
           int descriptors) {
  Target target(root, false);
  if (MIRRORD_LIKELY(target.is_local())) {
    return ORIGINAL(ftw)(target.path(), function, descriptors);
  }
  return Walk(nullptr, function, 0).run(root);
}

}  // extern "C"
