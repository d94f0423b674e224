// net/leave.h — the end of a process that waits for nothing, not even for its own destructors.
#pragma once

#include <sys/prctl.h>
#include <unistd.h>

extern "C" void __lsan_do_leak_check() __attribute__((weak));  // there under AddressSanitizer only

namespace mirrord {

[[noreturn]] inline void leave(int status) {
  if (__lsan_do_leak_check != nullptr) {
    ::prctl(PR_SET_DUMPABLE,
            1);  // the check traces the process, which a new user namespace forbids
    __lsan_do_leak_check();
  }
  ::_exit(status);
}

}  // namespace mirrord
