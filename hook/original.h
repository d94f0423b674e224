// hook/original.h — the functions the hook stands in front of: ORIGINAL(open)(path, flags).
#pragma once

#include "hook/libc.h"
#include "hook/prototypes.h"

namespace mirrord::hook {

enum OriginalIndex : uint32_t {
#define HOOK(result, name, parameters, aliases) kOriginal_##name,
#include "hook/hooks.def"
#undef HOOK
  kOriginalCount,
};

#define HOOK(result, name, parameters, aliases) using original_##name = result(*) parameters;
#include "hook/hooks.def"
#undef HOOK

extern std::atomic<void*> originals[kOriginalCount];

// Finds one original behind the hook (RTLD_NEXT). A name that this C library does not have becomes a
// function that fails with ENOSYS.
void* resolve_original(uint32_t index);
// All of them, at start: dlsym is not safe in signal handlers and vfork children.
void resolve_all_originals();
// Whether the process has the function at all.
bool has_original(uint32_t index);

inline void* original_pointer(uint32_t index) {
  void* pointer = originals[index].load(std::memory_order_relaxed);
  return MIRRORD_LIKELY(pointer != nullptr) ? pointer : resolve_original(index);
}

// Whether the C library is glibc; else it is musl.
bool is_glibc();

// Looks up any other symbol behind the hook; nullptr when there is none.
void* find_symbol(const char* name);

}  // namespace mirrord::hook

#define ORIGINAL(name)                                 \
  (reinterpret_cast<::mirrord::hook::original_##name>( \
      ::mirrord::hook::original_pointer(::mirrord::hook::kOriginal_##name)))
