// applets/agent/main.cpp — entry point of `mirrord agent` (a stand-in until the role is written).
#include <cstdio>

#include "applets/applet.h"

namespace mirrord {

int agent_main(int, char**) {
  std::fputs("mirrord agent: not implemented yet\n", stderr);
  return 1;
}

}  // namespace mirrord
