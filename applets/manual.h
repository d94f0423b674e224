// applets/manual.h — the manual page, mirrord(1).
#pragma once

#include <span>
#include <string>

#include "applets/applet.h"

namespace mirrord {

// In man(7)'s language: all commands that mirrord --help lists.
std::string manual_page(std::span<const Applet> applets);

}  // namespace mirrord
