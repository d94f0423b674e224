// hook/go.h — programs whose runtime makes its system calls itself (Go).
#pragma once

namespace mirrord::hook {

// At start: when the program is a Go executable, has the kernel hand its system calls to the hooks
// (prctl(2) PR_SET_SYSCALL_USER_DISPATCH, Linux 5.11). Without that the program acts locally and a
// line says so.
void trap_go_calls();

}  // namespace mirrord::hook
