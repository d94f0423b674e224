// hook/elf_lookup.h — finds symbols in the loaded objects without dlsym, which old C libraries keep
// in a library that most programs do not load (glibc before 2.34).
#pragma once

namespace mirrord::hook {

// The default definition of `name` in the objects that come after the hook; nullptr: none.
void* find_symbol_by_hand(const char* name);

}  // namespace mirrord::hook
