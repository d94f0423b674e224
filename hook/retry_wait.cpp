// hook/retry_wait.cpp — sleeps by reading a timer: the kernel restarts a read after a signal exactly
// when the handler asks for it, which it does for no other way of sleeping.
#include "hook/retry_wait.h"

#include "hook/ipc.h"

namespace mirrord::hook {

RetryWait::~RetryWait() {
  if (timer_ >= 0) {
    raw(SYS_close, timer_);
  }
}

int RetryWait::wait() {
  if (timer_ < 0) {
    const long made = raw(SYS_timerfd_create, 1 /* CLOCK_MONOTONIC */, O_CLOEXEC);
    timer_ = failed(made) ? -1 : place_high(static_cast<int>(made));
  }
  const long pause[4] = {0, 0, 0, next_ns_};  // interval, first expiration
  next_ns_ = least(next_ns_ * 2, kLongestNs);
  if (timer_ < 0) {  // out of descriptors
    return raw(SYS_nanosleep, pause + 2, nullptr) == -EINTR ? EINTR : 0;
  }
  uint64_t expirations = 0;
  raw(SYS_timerfd_settime, timer_, 0, pause, nullptr);
  return raw(SYS_read, timer_, &expirations, sizeof expirations) == -EINTR ? EINTR : 0;
}

}  // namespace mirrord::hook
