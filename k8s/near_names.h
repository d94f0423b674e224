// k8s/near_names.h — which of some names somebody may have meant.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mirrord::k8s {

// At most `count` of `names`, the likeliest first: those that contain `wanted` or lie in it, then
// those that are a few letters away.
std::vector<std::string> near_names(std::string_view wanted, const std::vector<std::string>& names,
                                    std::size_t count = 3);

}  // namespace mirrord::k8s
