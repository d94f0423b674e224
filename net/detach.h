// net/detach.h — starts a process that goes on without whoever started it.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "net/error.h"

namespace mirrord::net {

struct DetachedProcess {
  const char* name;       // up to 15 characters, for prctl(PR_SET_NAME)
  std::vector<int> kept;  // the descriptors that stay open there; -1 is none
};

// Forks a process in a session of its own that is nobody's child: a program that this process becomes must
// not find it by wait(2). Its standard descriptors are /dev/null; signals have their defaults and are not
// blocked, but for SIGPIPE, which is ignored. `main` runs there and must not return. `tried` is for the
// error. Call while the process has one thread.
Status start_detached(const DetachedProcess& process, std::string_view tried,
                      const std::function<void()>& main);

}  // namespace mirrord::net
