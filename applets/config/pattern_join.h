// applets/config/pattern_join.h — simplifies patterns that are searched for, and joins many to one.
#pragma once

#include <vector>

#include "applets/config/pattern.h"

namespace mirrord::config {

// Removes what a search does not need: it finds `a.*` wherever it finds `a`, and `.+b` wherever
// `.b`.
void trim_for_search(Pattern& pattern);

// The pattern that matches where one of `patterns` does; common beginnings are written once, so
// that fewer states are under way at the same time.
Pattern join_patterns(std::vector<Pattern> patterns);

}  // namespace mirrord::config
