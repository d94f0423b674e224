// applets/intproxy/input_limit.h — a bound on what programs have left unread: an agent that does not know
// pauses is not read from above it.
#pragma once

#include <cstddef>
#include <functional>

#include "applets/intproxy/agent_link.h"
#include "net/loop.h"

namespace mirrord::intproxy {

class InputLimit {
 public:
  // Bytes that wait for programs now.
  using Count = std::move_only_function<std::size_t()>;
  static constexpr std::size_t kCap = 64 << 20;

  // `count` is called until the object is destroyed.
  InputLimit(net::Loop& loop, AgentLink& link, Count count);
  ~InputLimit();
  InputLimit(const InputLimit&) = delete;
  InputLimit& operator=(const InputLimit&) = delete;

  // Counting takes a walk over all connections, so it is done when what came since the last time
  // could make a difference.
  void queued_more(std::size_t bytes);

 private:
  void check();

  AgentLink& link_;
  Count count_;
  std::size_t estimate_ = 0;
  bool is_holding_ = false;
  net::Timer timer_;
};

}  // namespace mirrord::intproxy
