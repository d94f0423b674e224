// applets/version.h — the one place that states the program's version (CMake reads it too).
#pragma once

namespace mirrord {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace mirrord
