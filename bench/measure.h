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

// A yardstick and an operation, measured in turns of some dozens of samples, so that both see the
// same times of the machine and each of them, within its turn, runs in its own rhythm as it would
// alone. `ratio` is the median over all turns of the ratio of a turn's two medians; `lowest` and
// `highest` are the same for the fifths of the run that are farthest from it.
struct Paired {
  double yardstick = 0;
  double ours = 0;
  double ratio = 0;
  double lowest = 0;
  double highest = 0;
};

// The median of one turn, after some samples that nobody looks at: they let what the other one has
// left behind come to its end, and get the caches back.
inline double sample_turn(int count, const std::function<double()>& sample) {
  std::vector<double> samples;
  for (int i = -count / 4 - 1; i < count; ++i) {
    const double value = sample();
    if (i >= 0) {
      samples.push_back(value);
    }
  }
  return median(std::move(samples));
}

// `sample_yardstick` and `sample_ours` do the operation once and return its microseconds. An
// operation that takes long is done fewer times per turn.
inline Paired measure_paired(int count, const std::function<double()>& sample_yardstick,
                             const std::function<double()>& sample_ours, int per_turn = 32) {
  constexpr int kRounds = 5;
  constexpr int kYardsticks = 32;
  const int turns = std::max(count / per_turn / kRounds, 1);
  std::vector<double> all_yardstick;
  std::vector<double> all_ours;
  std::vector<double> all_ratios;
  std::vector<double> of_rounds;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<double> ratios;
    for (int i = 0; i < turns; ++i) {
      all_yardstick.push_back(sample_turn(kYardsticks, sample_yardstick));
      all_ours.push_back(sample_turn(per_turn, sample_ours));
      ratios.push_back(all_ours.back() / all_yardstick.back());
    }
    all_ratios.insert(all_ratios.end(), ratios.begin(), ratios.end());
    of_rounds.push_back(median(std::move(ratios)));
  }
  const auto [lowest, highest] = std::ranges::minmax(of_rounds);
  return {median(std::move(all_yardstick)), median(std::move(all_ours)),
          median(std::move(all_ratios)), lowest, highest};
}

// The same for what takes long enough to be measured once per round, such as the rate of a stream.
inline Paired measure_rounds(int rounds, const std::function<double()>& yardstick,
                             const std::function<double()>& ours) {
  std::vector<double> all_yardstick;
  std::vector<double> all_ours;
  std::vector<double> ratios;
  for (int round = 0; round < rounds; ++round) {
    all_yardstick.push_back(yardstick());
    all_ours.push_back(ours());
    ratios.push_back(all_ours.back() / all_yardstick.back());
  }
  const auto [lowest, highest] = std::ranges::minmax(ratios);
  return {median(std::move(all_yardstick)), median(std::move(all_ours)), median(ratios), lowest,
          highest};
}

inline double time_us(const std::function<void()>& operation) {
  const double begin = now_us();
  operation();
  return now_us() - begin;
}

// Keeps this thread and what it starts on one processor while it lives: no idle processor has to
// wake up for an answer, so that what is left is the work itself.
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
  // Of a paired measurement: the median of the ratios, and its extremes over the rounds.
  double paired_ratio = 0;
  double lowest = 0;
  double highest = 0;
  // The same with all processors, shown beside it. 0 = not measured.
  double all_processors = 0;

  [[nodiscard]] double ratio() const {
    return paired_ratio > 0 ? paired_ratio : yardstick > 0 ? ours / yardstick : 0;
  }
  void set(const Paired& paired) {
    yardstick = paired.yardstick;
    ours = paired.ours;
    paired_ratio = paired.ratio;
    lowest = paired.lowest;
    highest = paired.highest;
  }
  [[nodiscard]] bool is_met() const {
    return limit <= 0 || (kind == Kind::kTime ? ratio() <= limit : ratio() >= limit);
  }
};

// Puts the ratios of `beside`, measured with all processors, next to those of the rows of that name.
inline void show_beside(std::vector<Row>& rows, const std::vector<Row>& beside) {
  for (Row& row : rows) {
    const auto same = std::ranges::find_if(beside, [&](const Row& other) {
      return other.name == row.name && other.yardstick_name == row.yardstick_name;
    });
    row.all_processors = same != beside.end() ? same->ratio() : 0;
  }
}

}  // namespace mirrord::bench
