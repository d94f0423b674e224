// applets/agent/redirect/table_guard.h — a process that removes an nftables table when the agent is gone.
#pragma once

#include <sys/types.h>

#include <span>
#include <vector>

#include "net/error.h"
#include "net/fd.h"

namespace mirrord::agent {

// For kernels that do not remove tables by themselves. The process shares nothing with the agent but its network
// namespace and one pipe, whose end tells it; then it sends a batch and ends.
class TableGuard {
 public:
  // `removal`: NetfilterBatch::finish() of what is to be done, kept by the guard.
  static Result<TableGuard> start(std::vector<std::byte> removal);
  TableGuard(TableGuard&& other) noexcept;
  TableGuard& operator=(TableGuard&&) = delete;
  ~TableGuard();  // the table is gone when it returns

 private:
  TableGuard(Fd pipe, pid_t process) : pipe_(std::move(pipe)), process_(process) {}
  Fd pipe_;
  pid_t process_;
};

}  // namespace mirrord::agent
