// applets/intproxy/input_limit.cpp — holds the agent's input, and looks when to let it go.
#include "applets/intproxy/input_limit.h"

#include <chrono>
#include <utility>

namespace mirrord::intproxy {
namespace {

constexpr std::chrono::milliseconds kPoll{10};

}  // namespace

InputLimit::InputLimit(net::Loop& loop, AgentLink& link, Count count)
    : link_(link), count_(std::move(count)), timer_(loop) {}

InputLimit::~InputLimit() {
  if (is_holding_) {
    link_.release_input();
  }
}

void InputLimit::queued_more(std::size_t bytes) {
  estimate_ += bytes;
  if (estimate_ > kCap && !is_holding_) {
    check();
  }
}

void InputLimit::check() {
  estimate_ = count_();
  if (!is_holding_ && estimate_ > kCap / 4 * 3) {
    is_holding_ = true;
    link_.hold_input();
    timer_.start_repeating(kPoll, [this] { check(); });
  } else if (is_holding_ && estimate_ < kCap / 2) {
    is_holding_ = false;
    timer_.stop();
    link_.release_input();
  }
}

}  // namespace mirrord::intproxy
