// net/stream.cpp — non-blocking reads and gathered writes of a byte stream.
#include "net/stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

namespace mirrord::net {

Chunk Chunk::copy_of(std::span<const std::byte> bytes) {
  auto* block = static_cast<std::byte*>(std::malloc(std::max<std::size_t>(bytes.size(), 1)));
  if (block == nullptr)
    throw std::bad_alloc();
  std::ranges::copy(bytes, block);
  return take(block, 0, bytes.size());
}

Stream::Stream(Loop& loop, Fd socket, std::string peer_name)
    : loop_(loop), socket_(std::move(socket)), peer_name_(std::move(peer_name)) {
  const int on = 1;
  // Fails on UNIX sockets, which have no such delay.
  ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  watcher_ =
      std::make_unique<FdWatcher>(loop_, socket_.get(), [this](int events) { on_ready(events); });
}

Stream::~Stream() {
  *alive_ = false;
}

void Stream::start(Handlers handlers) {
  handlers_ = std::make_shared<Handlers>(std::move(handlers));
  reading_ = true;
  update_interest();
}

void Stream::pause_reading() {
  reading_ = false;
  update_interest();
}

void Stream::resume_reading() {
  reading_ = true;
  update_interest();
}

// False when nothing is written any more.
bool Stream::enqueue(Chunk&& chunk) {
  if (failed_ || write_error_ != 0 || write_shut_wanted_ || chunk.size == 0) {
    return false;
  }
  queued_ += chunk.size;
  queue_.push_back(std::move(chunk));
  was_above_mark_ = was_above_mark_ || is_above_high_mark();
  return true;
}

void Stream::write_now(std::span<const std::byte> bytes) {
  if (queue_.empty() && !failed_ && write_error_ == 0 && !write_shut_wanted_) {
    const ssize_t count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    bytes = bytes.subspan(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  }
  // What is left, or what went wrong, takes the usual way.
  if (!bytes.empty() && enqueue(Chunk::copy_of(bytes))) {
    flush();
  }
}

void Stream::write(Chunk chunk) {
  if (enqueue(std::move(chunk)) && !flush_scheduled_) {
    flush_scheduled_ = true;
    loop_.defer([this, alive = alive_] {
      if (*alive) {
        flush_scheduled_ = false;
        flush();
      }
    });
  }
}

void Stream::flush() {
  if (!failed_ && write_available()) {
    update_interest();
  }
}

void Stream::finish_writing() {
  if (!write_shut_wanted_) {
    write_shut_wanted_ = true;
    flush();
  }
}

void Stream::finish_without_end() {
  sends_end_ = sends_end_ && write_shut_wanted_;
  finish_writing();
}

void Stream::reset_on_close() {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void Stream::on_ready(int events) {
  const std::shared_ptr<bool> alive = alive_;
  if ((events & FdWatcher::kWritable) != 0 && !write_available()) {
    return;
  }
  if (*alive && (events & FdWatcher::kReadable) != 0 && reading_ && !read_ended_) {
    read_available();
  }
  if (*alive && !failed_) {
    update_interest();
  }
}

ssize_t Stream::receive(const Space& space) {
  if (space.second.empty()) {
    return ::recv(socket_.get(), space.first.data(), space.first.size(), 0);
  }
  std::array<iovec, 2> parts{iovec{space.first.data(), space.first.size()},
                             iovec{space.second.data(), space.second.size()}};
  return ::readv(socket_.get(), parts.data(), static_cast<int>(parts.size()));
}

void Stream::read_available() {
  const std::shared_ptr<bool> alive = alive_;
  // Kept until the end: a handler may destroy the stream, and with it itself.
  const std::shared_ptr<Handlers> handlers = handlers_;
  std::size_t budget = kReadBudget;
  while (budget > 0 && reading_ && !read_ended_) {
    const Space space = handlers->buffer();
    const ssize_t count = receive(space);
    if (count > 0) {
      const auto received = static_cast<std::size_t>(count);
      handlers->received(received);
      if (!*alive || failed_) {
        return;
      }
      if (received < space.size()) {
        return;  // the socket is empty: the next recv would only say EAGAIN
      }
      budget -= std::min(budget, received);
    } else if (count == 0) {
      read_ended_ = true;
      if (write_error_ != 0) {
        fail(write_error_, "write to ");
        return;
      }
      update_interest();
      if (handlers->ended) {
        handlers->ended();
      }
      return;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return;
    } else if (errno != EINTR) {
      fail(errno, "read from ");
      return;
    }
  }
}

// As much of the queue as one call takes.
ssize_t Stream::send_first() {
  const Chunk& first = queue_.front();
  if (first.pipe) {
    return (*first.pipe)->drain(socket_.get(), queue_.size() > 1);
  }
  if (queue_.size() == 1) {
    return ::send(socket_.get(), first.data, first.size, MSG_NOSIGNAL);
  }
  constexpr std::size_t kMaxParts = 64;
  std::array<iovec, kMaxParts> parts;
  std::size_t part_count = 0;
  for (const Chunk& chunk : queue_) {
    if (part_count == kMaxParts || chunk.pipe) {
      break;
    }
    parts[part_count++] = {const_cast<std::byte*>(chunk.data), chunk.size};
  }
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = part_count;
  const int more = part_count < queue_.size() ? MSG_MORE : 0;
  return ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | more);
}

bool Stream::write_available() {
  while (!queue_.empty()) {
    const ssize_t count = send_first();
    if (count < 0) {
      if (errno == EINTR) {
        continue;
      }
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        break;
      }
      return write_failed(errno);
    }
    auto written = static_cast<std::size_t>(count);
    queued_ -= written;
    while (written > 0) {
      Chunk& head = queue_.front();
      const std::size_t step = std::min(written, head.size);
      head.data = head.pipe ? nullptr : head.data + step;
      head.size -= step;
      written -= step;
      if (head.size == 0) {
        queue_.pop_front();
      }
    }
  }
  return notify_written();
}

// Tells of what the last writes have changed; false when the stream failed or is gone.
bool Stream::notify_written() {
  const bool has_drained = was_above_mark_ && queued_ <= kHighMark / 2;
  if (!has_drained && !write_shut_wanted_) {
    return !failed_;
  }
  const std::shared_ptr<bool> alive = alive_;
  const std::shared_ptr<Handlers> handlers = handlers_;
  if (has_drained) {
    was_above_mark_ = false;
    if (handlers->drained) {
      handlers->drained();
    }
  }
  if (*alive && !failed_ && write_error_ == 0 && queue_.empty() && write_shut_wanted_ &&
      !write_finished_) {
    write_finished_ = true;
    if (sends_end_) {
      ::shutdown(socket_.get(), SHUT_WR);
    }
    if (handlers->finished) {
      handlers->finished();
    }
  }
  return *alive && !failed_;
}

// The peer takes no more, but may have said why before: its last words are read first.
bool Stream::write_failed(int error_number) {
  queue_.clear();
  queued_ = 0;
  if (read_ended_) {
    fail(error_number, "write to ");
    return false;
  }
  write_error_ = error_number;
  return true;
}

void Stream::update_interest() {
  if (failed_) {
    return;
  }
  int events = FdWatcher::kNone;
  if (reading_ && !read_ended_) {
    events |= FdWatcher::kReadable;
  }
  if (!queue_.empty()) {
    events |= FdWatcher::kWritable;
  }
  watcher_->watch(events);
}

void Stream::fail(int error_number, std::string_view tried) {
  failed_ = true;
  watcher_->watch(FdWatcher::kNone);
  queue_.clear();
  queued_ = 0;
  std::string what(tried);
  what += peer_name_;
  const std::shared_ptr<Handlers> handlers = handlers_;
  if (handlers->failed) {
    handlers->failed(system_error(what, error_number));
  }
}

}  // namespace mirrord::net
