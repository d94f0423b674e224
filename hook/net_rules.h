// hook/net_rules.h — the network rules of the session this process belongs to.
#pragma once

#include "hook/net_decide.h"

namespace mirrord::hook {

// Looks once, at the start of the session, for the ports of this process's own debugger.
void find_debugger_ports();

// Views into the settings file; only while the session is active.
NetRules current_net_rules();

}  // namespace mirrord::hook
