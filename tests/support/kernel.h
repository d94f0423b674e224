// tests/support/kernel.h — what the kernel under a test can do; qemu-user lacks some system calls.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace mirrord::test {

inline bool has_openat2() {
  return ::syscall(SYS_openat2, -1, nullptr, nullptr, 0) != -1 || errno != ENOSYS;
}

}  // namespace mirrord::test
