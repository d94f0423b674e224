// hook/musl_glob.h — glob for musl, whose own cannot be told to read directories through our functions.
#pragma once

namespace mirrord::hook {

// As glob(3) of musl; what it finds is given back by musl's globfree.
int glob_as_musl(const char* pattern, int flags, int (*on_error)(const char*, int), void* result);

}  // namespace mirrord::hook
