// net/payload_pipe.h — bytes on their way from one descriptor to another that this process never
// copies: the kernel passes references to their pages through a pipe (splice(2)).
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "net/fd.h"

namespace mirrord::net {

// Holds one payload. What is in it can no longer fail to arrive: its size may be announced.
class PayloadPipe {
 public:
  // At most so many bytes, and only whole pages of a file count as such.
  static constexpr std::size_t kCapacity = 1 << 20;

  // Null when there are no descriptors, or less memory for pipes than that.
  static std::unique_ptr<PayloadPipe> open();

  // Adds bytes of a file or a socket, from `*offset` on or where it stands: their count, 0 at the
  // end, or -1 with errno.
  ssize_t fill(int from, off_t* offset, std::size_t size);
  // Moves bytes to a socket: their count, or -1 with errno. `more`: others follow at once.
  ssize_t drain(int socket, bool more);
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  Fd read_end_;
  Fd write_end_;
  std::size_t size_ = 0;
};

// The pipes of a loop: making one costs more than a payload.
class PipePool {
 public:
  // Null when none is to be had, or as many as this are in use.
  static constexpr std::size_t kMost = 4;
  class Lease;
  std::unique_ptr<Lease> take();

 private:
  struct Pipes {
    std::vector<std::unique_ptr<PayloadPipe>> free;
    std::size_t in_use = 0;
    bool is_exhausted = false;  // the system refused one: do not ask again and again
  };
  std::shared_ptr<Pipes> pipes_ = std::make_shared<Pipes>();
};

// A pipe of the pool while it is in use; an empty one goes back.
class PipePool::Lease {
 public:
  Lease(std::shared_ptr<Pipes> pipes, std::unique_ptr<PayloadPipe> pipe)
      : pipes_(std::move(pipes)), pipe_(std::move(pipe)) {}
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  PayloadPipe* operator->() const { return pipe_.get(); }

 private:
  std::shared_ptr<Pipes> pipes_;
  std::unique_ptr<PayloadPipe> pipe_;
};
using LeasedPipe = std::unique_ptr<PipePool::Lease>;

}  // namespace mirrord::net
