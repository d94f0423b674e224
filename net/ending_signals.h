// net/ending_signals.h — the signals that ask a process to end: from the terminal, from whoever started it, from a
// terminal that is gone.
#pragma once

#include <signal.h>

#include <functional>

#include "net/loop.h"

namespace mirrord::net {

class EndingSignals {
 public:
  // Delivers each on the loop's thread, with its number.
  EndingSignals(Loop& loop, const std::function<void(int number)>& callback)
      : interrupt_(loop, SIGINT, [callback] { callback(SIGINT); }),
        terminate_(loop, SIGTERM, [callback] { callback(SIGTERM); }),
        hang_up_(loop, SIGHUP, [callback] { callback(SIGHUP); }) {}

 private:
  SignalWatcher interrupt_, terminate_, hang_up_;
};

}  // namespace mirrord::net
