// hook/retry_wait.h — the wait between two tries of a call that would block at the target (FIFOs,
// devices): the agent never waits for one file, because others stand behind it.
#pragma once

#include "hook/libc.h"

namespace mirrord::hook {

class RetryWait {
 public:
  RetryWait() = default;
  ~RetryWait();
  RetryWait(const RetryWait&) = delete;
  RetryWait& operator=(const RetryWait&) = delete;

  // Sleeps, a little longer each time. Returns 0, or EINTR after a signal whose handler does not
  // ask for calls to be restarted, as a blocking read would.
  int wait();

 private:
  static constexpr long kFirstNs = 500'000;
  static constexpr long kLongestNs = 40'000'000;
  int timer_ = -1;
  long next_ns_ = kFirstNs;
};

}  // namespace mirrord::hook
