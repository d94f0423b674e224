// hook/decision_log.h — tells the session's log what this process does with a path, a peer or a name. Only when the
// session wants it: component "hook", level debug.
#pragma once

#include "hook/decide.h"
#include "hook/libc.h"
#include "proto/local.h"

namespace mirrord::hook {

inline bool logs_decisions() {
  return has_flag(local::kLogDecisions);
}

void log_path(const char* path, bool write, Target::Kind kind);
void log_peer(const local::Address& remote, bool is_remote);
void log_name(const char* name, bool is_remote);

}  // namespace mirrord::hook
