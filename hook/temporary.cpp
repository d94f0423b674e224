// hook/temporary.cpp — the hooks that make temporary files, where the folder is remote or mapped.
#include "hook/original.h"
#include "hook/remote_file.h"

using namespace mirrord::hook;

namespace {

constexpr size_t kMarks = 6;  // XXXXXX

// Where the marks begin, or nullptr when the template has none before its suffix.
char* marks_of(char* name, int suffix_length) {
  size_t length = name != nullptr ? strlen(name) : 0;
  if (suffix_length < 0 || length < kMarks + static_cast<size_t>(suffix_length)) {
    return nullptr;
  }
  char* marks = name + length - static_cast<size_t>(suffix_length) - kMarks;
  return memcmp(marks, "XXXXXX", kMarks) == 0 ? marks : nullptr;
}

// Fills the marks and calls `make` until the name is new.
template <class Make>
int make_new(char* name, int suffix_length, Make make) {
  char* marks = marks_of(name, suffix_length);
  if (marks == nullptr) {
    return fail_with(EINVAL);
  }
  for (int i = 0; i < 100; ++i) {
    uint64_t bits = random_key();
    for (size_t at = 0; at < kMarks; ++at, bits /= 36) {
      marks[at] = "abcdefghijklmnopqrstuvwxyz0123456789"[bits % 36];
    }
    SavedErrno saved;
    int result = make(name);
    if (result >= 0) {
      return result;
    }
    saved.set(errno);
    if (errno != EEXIST) {
      break;
    }
  }
  int error = errno;
  __builtin_memcpy(marks, "XXXXXX", kMarks);
  return fail_with(error);
}

bool is_untouched(const char* name) {
  Target target(name, true);
  return target.is_local() && target.path() == name;
}

int make_file(char* name, int suffix_length, int flags) {
  return make_new(name, suffix_length, [flags](const char* path) {
    return hk_open(path, (flags & ~O_ACCMODE) | O_RDWR | O_CREAT | O_EXCL, mode_t{0600});
  });
}

}  // namespace

extern "C" {

int hk_mkstemp(char* name) {
  return MIRRORD_LIKELY(is_untouched(name)) ? ORIGINAL(mkstemp)(name) : make_file(name, 0, 0);
}

int hk_mkostemp(char* name, int flags) {
  return MIRRORD_LIKELY(is_untouched(name)) ? ORIGINAL(mkostemp)(name, flags)
                                            : make_file(name, 0, flags);
}

int hk_mkstemps(char* name, int suffix_length) {
  return MIRRORD_LIKELY(is_untouched(name)) ? ORIGINAL(mkstemps)(name, suffix_length)
                                            : make_file(name, suffix_length, 0);
}

int hk_mkostemps(char* name, int suffix_length, int flags) {
  return MIRRORD_LIKELY(is_untouched(name)) ? ORIGINAL(mkostemps)(name, suffix_length, flags)
                                            : make_file(name, suffix_length, flags);
}

char* hk_mkdtemp(char* name) {
  if (MIRRORD_LIKELY(is_untouched(name))) {
    return ORIGINAL(mkdtemp)(name);
  }
  return make_new(name, 0, [](const char* path) { return hk_mkdir(path, 0700); }) < 0 ? nullptr
                                                                                      : name;
}

}  // extern "C"
