// bench/measure.h — clocks, percentiles and the rows of the result table.
#pragma once

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace mirrord::bench {

inline double now_us() {
  using std::chrono::steady_clock;
  return std::chrono::duration<double, std::micro>(steady_clock::now().time_since_epoch()).count();
}

inline double median(std::vector<double> samples) {
  if (samples.empty()) {
    return 0;
  }
  const auto middle = samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2);
  std::ranges::nth_element(samples, middle);
  return *middle;
}

// Runs `operation` `count` times after a tenth as many for warming up; microseconds of the median.
inline double p50_us(int count, const std::function<void()>& operation) {
  for (int i = 0; i < count / 10 + 1; ++i) {
    operation();
  }
  std::vector<double> samples;
  samples.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    const double begin = now_us();
    operation();
    samples.push_back(now_us() - begin);
  }
  return median(std::move(samples));
}

// Keeps this thread and what it starts on one processor while it lives. A reply time of some
// microseconds is otherwise the time that an idle processor takes to wake up (tens of microseconds
// on virtual machines), or not, as the scheduler happens to place the processes.
class OneProcessor {
 public:
  OneProcessor() {
    ::sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int i = CPU_SETSIZE - 1; i >= 0; --i) {
      if (CPU_ISSET(i, &before_)) {
        CPU_SET(i, &one);
        break;
      }
    }
    ::sched_setaffinity(0, sizeof one, &one);
  }
  ~OneProcessor() { ::sched_setaffinity(0, sizeof before_, &before_); }
  OneProcessor(const OneProcessor&) = delete;
  OneProcessor& operator=(const OneProcessor&) = delete;

 private:
  cpu_set_t before_;
};

// How a row is judged. A time is better when small, a rate when large.
enum class Kind { kTime, kRate };

// One line of the table: what ours measured against a yardstick of the same run. `limit` bounds
// the ratio ours/yardstick: from above for times, from below for rates. 0 = shown, not judged.
struct Row {
  std::string group;
  std::string name;
  std::string yardstick_name;
  double yardstick = 0;
  double ours = 0;
  std::string unit;
  Kind kind = Kind::kTime;
  double limit = 0;
  std::string note;

  [[nodiscard]] double ratio() const { return yardstick > 0 ? ours / yardstick : 0; }
  [[nodiscard]] bool is_met() const {
    return limit <= 0 || (kind == Kind::kTime ? ratio() <= limit : ratio() >= limit);
  }
};

}  // namespace mirrord::bench
