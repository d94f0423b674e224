// applets/config/resolved_json.h — the whole configuration as it is used, for other programs to read.
#pragma once

#include <string>

#include "applets/config/values.h"

namespace mirrord::config {

// One object with every key, in the shape that the layer of mirrord reads: short forms are written
// out, and what is not set is null.
std::string resolved_json(const ResolvedConfig& config, Values& values,
                          const Environment& environment);

}  // namespace mirrord::config
