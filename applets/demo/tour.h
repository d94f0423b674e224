// applets/demo/tour.h — the short tour of `mirrord demo`.
#pragma once

namespace mirrord::demo {

// Runs four commands on this machine and in a new pod and prints the results side by side.
// Returns the exit code.
int show_tour();

}  // namespace mirrord::demo
