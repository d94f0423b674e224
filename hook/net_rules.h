// hook/net_rules.h — the network rules of the session this process belongs to.
#pragma once

#include "hook/net_decide.h"

namespace mirrord::hook {

// Views into the settings file; only while the session is active.
NetRules current_net_rules();

}  // namespace mirrord::hook
