// applets/intproxy/load_watch.h — tells the user when the program runs without the hook: silence would
// look like a session that works.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>

#include "net/fd.h"
#include "net/loop.h"

namespace mirrord::intproxy {

// Why the process runs without the hook, as a sentence; empty: there is nothing to say; nullopt: too
// early to tell (the process has not become the program yet).
using ExplainNotLoaded = std::function<std::optional<std::string>(pid_t pid)>;

// Lives until the first process of the session says hello, or the root process ends. Holds the
// user's standard error no longer than that: whoever reads it waits for its end.
class LoadWatch {
 public:
  LoadWatch(net::Loop& loop, pid_t root, Fd standard_error, ExplainNotLoaded explain);

 private:
  void check();
  void print(const std::string& text);

  pid_t root_;
  Fd standard_error_;
  ExplainNotLoaded explain_;
  net::Timer timer_;
};

}  // namespace mirrord::intproxy
