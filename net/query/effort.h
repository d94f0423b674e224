// net/query/effort.h — a bound on the time that one question may take.
#pragma once

#include <time.h>

#include <chrono>

namespace mirrord::net {

// Counts this thread's processor time, so that a loaded machine answers like an idle one; while less
// has passed on the clock, that is all that is asked (no system call).
class Effort {
 public:
  explicit Effort(std::chrono::nanoseconds limit)
      : limit_(limit), started_(now(CLOCK_MONOTONIC)), used_before_(now(CLOCK_THREAD_CPUTIME_ID)) {}

  [[nodiscard]] bool is_spent() {
    is_spent_ = is_spent_ || (now(CLOCK_MONOTONIC) - started_ > limit_ &&
                              now(CLOCK_THREAD_CPUTIME_ID) - used_before_ > limit_);
    return is_spent_;
  }
  // For those who count their work themselves and find it too much.
  void give_up() { is_spent_ = true; }
  [[nodiscard]] bool was_spent() const { return is_spent_; }

 private:
  static std::chrono::nanoseconds now(clockid_t clock) {
    timespec time{};
    clock_gettime(clock, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
  }

  std::chrono::nanoseconds limit_, started_, used_before_;
  bool is_spent_ = false;
};

}  // namespace mirrord::net
