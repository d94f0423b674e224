// applets/intproxy/load_watch.h — tells the user when the program runs without the hook: silence would
// look like a session that works.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

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
  // Without a root process: looks for programs that were started with the session's environment, and
  // writes to the standard error of the first one that runs without the hook.
  LoadWatch(net::Loop& loop, std::string session_directory, ExplainNotLoaded explain);

 private:
  void check_root();
  void check_session();
  void print(const std::string& text);

  pid_t root_ = 0;
  Fd standard_error_;
  std::string session_directory_;
  std::vector<pid_t> seen_;  // by the last check
  ExplainNotLoaded explain_;
  net::Timer timer_;
};

}  // namespace mirrord::intproxy
