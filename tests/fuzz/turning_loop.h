// tests/fuzz/turning_loop.h — an event loop that a fuzz target turns by hand.
#pragma once

#include <chrono>

#include "net/loop.h"

namespace mirrord::fuzz {

class TurningLoop {
 public:
  net::Loop& get() { return loop_; }
  operator net::Loop&() { return loop_; }

  // Handles what is ready now, and what that leads to at once.
  void turn(int rounds = 2) {
    for (int i = 0; i < rounds; ++i)
      wait(std::chrono::milliseconds(0));
  }
  void wait(std::chrono::milliseconds time) {
    net::Timer timer(loop_);
    bool is_over = false;
    timer.start(time, [&] {
      is_over = true;
      loop_.stop();
    });
    while (!is_over)
      loop_.run();
  }
  // Turns until `condition` holds; false when it does not in five seconds.
  template <class Condition>
  bool turn_until(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    turn();
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end)
        return false;
      wait(std::chrono::milliseconds(1));
    }
    return true;
  }

 private:
  net::Loop loop_;
};

}  // namespace mirrord::fuzz
