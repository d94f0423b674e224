// hook/original.cpp — finds the functions the hook stands in front of.
#include "hook/original.h"

#include <dlfcn.h>

#include "hook/elf_lookup.h"
#include "hook/guard.h"

// Old C libraries keep dlsym in a library that the program may not have loaded.
#pragma weak dlsym

namespace mirrord::hook {
namespace {

const char* const kNames[] = {
#define HOOK(result, name, parameters, aliases) #name,
#include "hook/hooks.def"
#undef HOOK
};

// Stands for functions that this C library does not have.
long missing_function() {
  return fail_with(ENOSYS);
}

}  // namespace

std::atomic<void*> originals[kOriginalCount];

void* find_symbol(const char* name) {
  SavedErrno saved;
  Guard guard;
  return dlsym != nullptr ? dlsym(RTLD_NEXT, name) : find_symbol_by_hand(name);
}

void* resolve_original(uint32_t index) {
  void* pointer = find_symbol(kNames[index]);
  if (pointer == nullptr) {
    pointer = reinterpret_cast<void*>(&missing_function);
  }
  originals[index].store(pointer, std::memory_order_relaxed);
  return pointer;
}

void resolve_all_originals() {
  for (uint32_t i = 0; i < kOriginalCount; ++i) {
    original_pointer(i);
  }
}

bool is_glibc() {
  static std::atomic<int> known{-1};
  int value = known.load(std::memory_order_relaxed);
  if (value < 0) {
    value = find_symbol("gnu_get_libc_version") != nullptr ? 1 : 0;
    known.store(value, std::memory_order_relaxed);
  }
  return value == 1;
}

bool has_original(uint32_t index) {
  return original_pointer(index) != reinterpret_cast<void*>(&missing_function);
}

}  // namespace mirrord::hook
