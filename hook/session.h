// hook/session.h — the session this process belongs to: its settings, file slots and identity.
#pragma once

#include "hook/guard.h"
#include "hook/libc.h"

namespace mirrord::hook {

enum class SessionState : uint8_t {
  kUnknown,   // nobody has looked yet
  kStarting,  // one thread is looking
  kInert,     // no session, or a program to leave alone: every hook passes through
  kActive,
};

struct Session {
  const local::Settings* settings;
  local::FileSlot* slots;
  uint64_t process_key;  // of this process; a new one in every fork child
  uint64_t parent_key;   // of the process whose image this one replaces, or 0
  char directory[256];
  char socket_path[108];
  char program[64];
  // With local::kOwnFilesLocal; else empty.
  char start_directory[1024];
  char executable[1024];
};

extern Session session;
extern std::atomic<SessionState> session_state;

// Looks for the session; called once by the constructor or by the first hook before it.
bool start_session();

inline bool is_active() {
  SessionState state = session_state.load(std::memory_order_acquire);
  if (MIRRORD_LIKELY(state == SessionState::kActive)) {
    return guard_depth == 0;
  }
  if (state == SessionState::kInert) {
    return false;
  }
  return start_session();
}

// The bytes of a section of the settings. Sections were bounds-checked at start.
inline const char* section_data(const local::Section& section) {
  return reinterpret_cast<const char*>(session.settings) + section.offset;
}

inline bool has_flag(uint32_t flag) {
  return (session.settings->flags & flag) != 0;
}

// The value of a variable of this process, or nullptr.
const char* environment_value(const char* name);
// Takes every variable of that name out of `environ`, in place.
void remove_variable(const char* name);

enum class Mapping : uint8_t { kReadOnly, kShared, kPrivate };
// Maps a file of the session directory; nullptr when it is not there or shorter than `least_size`.
void* map_session_file(const char* name, size_t least_size, Mapping mapping, size_t* size);

// Whether `name` is one of the NUL-terminated names of a section.
bool section_has_name(const local::Section& section, const char* name);

// Random bits for keys.
uint64_t random_key();

}  // namespace mirrord::hook
