// tests/hook/peer_session.h — the session files a hook needs, made for a test: settings with a
// small path automaton, slots, socket path.
#pragma once

#include <string>

#include "proto/local.h"

namespace mirrord::peer {

// The rules of every test session: paths below these prefixes.
inline constexpr char kRemotePrefix[] = "/remote";      // remote for reading and writing
inline constexpr char kReadOnlyPrefix[] = "/readonly";  // remote for reading, local for writing
inline constexpr char kMappedPrefix[] = "/mapped";      // becomes /remote
inline constexpr char kMappedLocal[] = "/homemap";      // becomes the directory MIRRORD_TEST_LOCAL
inline constexpr char kHiddenPrefix[] = "/hidden";      // does not exist

// Writes DIRECTORY/settings and DIRECTORY/slots. `skip` is a program to leave alone.
bool write_session(const std::string& directory, const std::string& hook, const std::string& skip,
                   uint32_t version, local::FileSlot** slots);

}  // namespace mirrord::peer
