// hook/net_decide.h — which connections and names leave through the target: pure functions over
// the session's settings, without a system call.
#pragma once

#include <stdint.h>

#include "proto/local.h"

namespace mirrord::hook {

enum class NetDecision {
  kLocal,   // the original call
  kRemote,  // through the intproxy
  kAsk,     // the intproxy decides (a filter by name, a loopback port)
};

// What the decision needs from the settings file, as views into it.
struct NetRules {
  uint32_t flags;  // SettingsFlags
  const local::FilterRule* outgoing;
  uint32_t outgoing_count;
  const local::FilterRule* dns;
  uint32_t dns_count;
  const char* names;  // NUL-terminated texts that FilterRule::name points into
  const local::PortRange* ignored;
  uint32_t ignored_count;
  bool ignore_localhost;  // the flag, or this process's own reason (Next.js)
};

// For a TCP or UDP destination.
NetDecision decide_connect(const NetRules& rules, local::Transport transport,
                           const local::Address& remote);

// For a host name or numeric address, `port` in host order or 0.
NetDecision decide_lookup(const NetRules& rules, const char* node, uint16_t port);

}  // namespace mirrord::hook
