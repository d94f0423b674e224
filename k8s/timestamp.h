// k8s/timestamp.h — the times that Kubernetes writes.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace mirrord::k8s {

// RFC 3339: "2024-05-06T07:08:09Z", with an optional fraction, which is dropped, or offset. Years are
// brought into 1700 to 2200, which the clock can express.
std::optional<std::chrono::system_clock::time_point> parse_timestamp(std::string_view text);

}  // namespace mirrord::k8s
