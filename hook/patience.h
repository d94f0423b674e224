// hook/patience.h — how long the hook waits for the intproxy: no wait is without an end, even when that
// process is stopped.
//
// The limit is no limit for work: when it has passed, the intproxy is asked for a sign of life on a
// connection of its own, and as long as it gives one the wait goes on. What the agent owes, the
// intproxy itself limits (applets/intproxy/agent_link.h).
#pragma once

#include "hook/libc.h"

namespace mirrord::hook {

// For an answer, and again for the sign of life. A machine that swaps or a debugger may stop the
// intproxy for a while.
inline constexpr uint32_t kAnswerLimitMs = 30'000;
// The same once the intproxy was found silent, until it answers again: a program that makes a
// thousand calls more shall not wait for each of them.
inline constexpr uint32_t kSilentLimitMs = 500;
// Milliseconds; overrides kAnswerLimitMs (for tests).
inline constexpr char kAnswerLimitVariable[] = "MIRRORD_ANSWER_LIMIT_MS";

void set_answer_limit(uint32_t milliseconds);
// The limit that holds now.
uint32_t answer_limit_ms();

// Sends and receives on this socket end with EAGAIN after the limit.
void limit_waits(int fd);

// Whether the intproxy answers at all (ipc.cpp).
bool answers_ping();
void note_silence(bool is_silent_now);
bool is_silent();

// Measures one wait that signals interrupt; costs nothing until it is asked.
class Patience {
 public:
  // True each time when the limit has passed.
  bool is_over() {
    const uint64_t now = coarse_now_ns();
    if (since_ns_ == 0) {
      since_ns_ = now;
    }
    const bool over = (now - since_ns_) / 1'000'000 > answer_limit_ms();
    if (over) {
      since_ns_ = now;
    }
    return over;
  }

 private:
  uint64_t since_ns_ = 0;
};

}  // namespace mirrord::hook
