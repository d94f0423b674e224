// hook/init.cpp — what happens when the library is loaded, and its version.
#include "hook/go.h"
#include "hook/guard.h"
#include "hook/session.h"

extern "C" __attribute__((visibility("default"))) const char* mirrord_layer_version() {
  return "0.1.0";
}

namespace mirrord::hook {

namespace {

// Other libraries' constructors may have called hooks before: then this is done already.
__attribute__((constructor)) void on_load() {
  if (is_active()) {
    trap_go_calls();
  }
}

}  // namespace
}  // namespace mirrord::hook
