// net/payload_pipe.cpp — pipes as carriers of payloads.
#include "net/payload_pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace mirrord::net {

std::unique_ptr<PayloadPipe> PayloadPipe::open() {
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
    return nullptr;
  }
  auto pipe = std::make_unique<PayloadPipe>();
  pipe->read_end_ = Fd(ends[0]);
  pipe->write_end_ = Fd(ends[1]);
  const int capacity = ::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(kCapacity));
  return capacity >= static_cast<int>(kCapacity) ? std::move(pipe) : nullptr;
}

ssize_t PayloadPipe::fill(int from, off_t* offset, std::size_t size) {
  ssize_t count = -1;
  do {
    count = ::splice(from, offset, write_end_.get(), nullptr, size, SPLICE_F_NONBLOCK);
  } while (count < 0 && errno == EINTR);
  size_ += count > 0 ? static_cast<std::size_t>(count) : 0;
  return count;
}

ssize_t PayloadPipe::drain(int socket, bool more) {
  const ssize_t count = ::splice(read_end_.get(), nullptr, socket, nullptr, size_,
                                 SPLICE_F_NONBLOCK | (more ? SPLICE_F_MORE : 0U));
  size_ -= count > 0 ? static_cast<std::size_t>(count) : 0;
  return count;
}

LeasedPipe PipePool::take() {
  if (pipes_->in_use == kMost || pipes_->is_exhausted) {
    return nullptr;
  }
  std::unique_ptr<PayloadPipe> pipe;
  if (pipes_->free.empty()) {
    pipe = PayloadPipe::open();
  } else {
    pipe = std::move(pipes_->free.back());
    pipes_->free.pop_back();
  }
  if (!pipe) {
    pipes_->is_exhausted = true;
    return nullptr;
  }
  ++pipes_->in_use;
  return std::make_unique<Lease>(pipes_, std::move(pipe));
}

PipePool::Lease::~Lease() {
  --pipes_->in_use;
  if (pipe_->size() == 0) {
    pipes_->free.push_back(std::move(pipe_));
  }
}

}  // namespace mirrord::net
