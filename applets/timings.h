// applets/timings.h — how long each phase of a start took, for --timings.
#pragma once

#include <chrono>
#include <cstdio>
#include <string>

namespace mirrord {

class Timings {
 public:
  explicit Timings(bool is_on) : is_on_(is_on) {}
  void mark(const char* phase) {
    const auto now = Clock::now();
    if (is_on_)
      text_ += phase + (": " + microseconds(now - last_)) + "\n";
    last_ = now;
  }
  // A part of the present phase that was measured elsewhere.
  void part(const std::string& name, std::chrono::microseconds time) {
    if (is_on_)
      text_ += "  " + name + ": " + microseconds(time) + "\n";
  }
  void print() {
    if (is_on_)
      std::fputs((text_ + "in all: " + microseconds(last_ - begin_) + "\n").c_str(), stderr);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static std::string microseconds(Clock::duration time) {
    return std::to_string(time / std::chrono::microseconds(1)) + " µs";
  }
  bool is_on_;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point last_ = begin_;
  std::string text_;
};

}  // namespace mirrord
