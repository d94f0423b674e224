// hook/patience.cpp — the limit of every wait for the intproxy.
#include "hook/patience.h"

#include <sys/socket.h>

namespace mirrord::hook {
namespace {

std::atomic<uint32_t> limit_ms{kAnswerLimitMs};
std::atomic<bool> silent{false};

}  // namespace

void set_answer_limit(uint32_t milliseconds) {
  limit_ms.store(milliseconds, std::memory_order_relaxed);
}

uint32_t answer_limit_ms() {
  const uint32_t limit = limit_ms.load(std::memory_order_relaxed);
  return is_silent() ? least(limit, kSilentLimitMs) : limit;
}

void limit_waits(int fd) {
  const uint32_t limit = answer_limit_ms();
  const long time[2] = {static_cast<long>(limit / 1000), static_cast<long>(limit % 1000) * 1000};
  raw(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, time, sizeof time);
  raw(SYS_setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, time, sizeof time);
}

void note_silence(bool is_silent_now) {
  silent.store(is_silent_now, std::memory_order_relaxed);
}

bool is_silent() {
  return silent.load(std::memory_order_relaxed);
}

}  // namespace mirrord::hook
