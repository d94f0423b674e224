// hook/libc.h — the C library declarations the hook uses, and small helpers of its own. The hook
// links nothing: what it calls by name is found in the process it is loaded into, on glibc and musl.
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>

#include "hook/syscall.h"
#include "proto/local.h"

namespace mirrord::hook {

#define MIRRORD_LIKELY(x) __builtin_expect(!!(x), 1)
#define MIRRORD_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define MIRRORD_SLOW __attribute__((noinline, cold))

// Turns a raw system call's result into the C convention.
inline long to_errno(long result) {
  if (MIRRORD_UNLIKELY(failed(result))) {
    errno = static_cast<int>(-result);
    return -1;
  }
  return result;
}

// -1 with errno set.
inline int fail_with(int error) {
  errno = error;
  return -1;
}

// nullptr with errno set.
inline decltype(nullptr) fail_null(int error) {
  errno = error;
  return nullptr;
}

// Restores errno when it goes out of scope: a hook that succeeds leaves it as it was.
class SavedErrno {
 public:
  SavedErrno() : value_(errno) {}
  ~SavedErrno() { errno = value_; }
  void set(int value) { value_ = value; }
  SavedErrno(const SavedErrno&) = delete;
  SavedErrno& operator=(const SavedErrno&) = delete;

 private:
  int value_;
};

// Whether a program's pointer can point anywhere: not into the first page, not out of the user's part
// of the address space. Others go on to the kernel, which says EFAULT.
inline bool is_pointer(const void* pointer) {
  constexpr uintptr_t kFirstPage = 4096;
#if defined(__aarch64__)
  constexpr uintptr_t kTag = uintptr_t{0xFF} << 56;  // ignored by the processor
  constexpr uintptr_t kEnd = uintptr_t{1} << 52;
#else
  constexpr uintptr_t kTag = 0;
  constexpr uintptr_t kEnd = uintptr_t{1} << 47;
#endif
  return (reinterpret_cast<uintptr_t>(pointer) & ~kTag) - kFirstPage < kEnd - kFirstPage;
}

template <class T>
inline T least(T a, T b) {
  return a < b ? a : b;
}

inline bool starts_with(const char* text, const char* prefix) {
  while (*prefix != '\0') {
    if (*text++ != *prefix++) {
      return false;
    }
  }
  return true;
}

// The part after the last slash.
inline const char* base_name(const char* path) {
  const char* base = path;
  for (const char* p = path; *p != '\0'; ++p) {
    if (*p == '/') {
      base = p + 1;
    }
  }
  return base;
}

// Monotonic nanoseconds, coarse (a few milliseconds).
inline uint64_t coarse_now_ns() {
  struct timespec {
    long seconds, nanoseconds;
  } now = {};
  raw(SYS_clock_gettime, 6 /* CLOCK_MONOTONIC_COARSE */, &now);
  return static_cast<uint64_t>(now.seconds) * 1'000'000'000U +
         static_cast<uint64_t>(now.nanoseconds);
}

// Text put together without allocation; what does not fit is cut.
template <size_t kSize>
class TextBuffer {
 public:
  TextBuffer& text(const char* value) { return bytes(value, strlen(value)); }
  TextBuffer& bytes(const char* value, size_t size) {
    size_t room = kSize - 1 - size_;
    cut_ = cut_ || size > room;
    size = least(size, room);
    __builtin_memcpy(data_ + size_, value, size);
    size_ += size;
    data_[size_] = '\0';
    return *this;
  }
  TextBuffer& number(uint64_t value, unsigned base = 10) {
    char digits[24];
    size_t at = sizeof digits;
    do {
      digits[--at] = "0123456789abcdefghijklmnopqrstuvwxyz"[value % base];
      value /= base;
    } while (value != 0);
    return bytes(digits + at, sizeof digits - at);
  }
  [[nodiscard]] const char* c_str() const { return data_; }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] bool is_cut() const { return cut_; }

 private:
  char data_[kSize] = {};
  size_t size_ = 0;
  bool cut_ = false;
};

}  // namespace mirrord::hook
