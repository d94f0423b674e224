// hook/guard.h — the per-thread flag of "this thread is inside the hook's own work".
#pragma once

#include <stdint.h>

namespace mirrord::hook {

// Initial-exec, plain data: safe in signal handlers, before init and in vfork children.
extern __thread uint32_t guard_depth;

// While one is alive, every hook on this thread passes straight to the original. Needed around
// calls into the host only (dlsym, malloc, libc functions that call public names).
class Guard {
 public:
  Guard() { guard_depth = guard_depth + 1; }
  ~Guard() { guard_depth = guard_depth - 1; }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
};

inline bool is_guarded() {
  return guard_depth != 0;
}

}  // namespace mirrord::hook
