// applets/intproxy/main.cpp — entry point of `mirrord intproxy` (a stand-in until the role is written).
#include <cstdio>

#include "applets/applet.h"

namespace mirrord {

int intproxy_main(int, char**) {
  std::fputs("mirrord intproxy: not implemented yet\n", stderr);
  return 1;
}

}  // namespace mirrord
