// applets/intproxy/stream_writer.cpp — finds streams with bytes, reads them in pieces, holds back
// programs that write faster than the agent.
#include "applets/intproxy/stream_writer.h"

#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace mirrord::intproxy {
namespace {

constexpr int kStreamBuffer = 1 << 20;
constexpr std::size_t kTurnBudget = 2 << 20;  // of one stream before others get their turn

void grow_buffer(int socket) {
  if (::setsockopt(socket, SOL_SOCKET, SO_SNDBUFFORCE, &kStreamBuffer, sizeof kStreamBuffer) != 0) {
    ::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &kStreamBuffer, sizeof kStreamBuffer);
  }
}

}  // namespace

StreamSet::StreamSet(net::Loop& loop, Handlers handlers)
    : loop_(loop), handlers_(std::move(handlers)) {}

Fd StreamSet::add(const std::shared_ptr<RemoteFile>& file) {
  if (!epoll_.is_open()) {
    epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll_.is_open()) {
      return {};
    }
    watcher_ = std::make_unique<net::FdWatcher>(loop_, epoll_.get(), [this](int) { on_ready(); });
  }
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return {};
  }
  Fd ours(ends[0]);
  Fd theirs(ends[1]);
  grow_buffer(theirs.get());
  ::shutdown(ours.get(), SHUT_WR);  // a read of the program's end says end of file, not "wait"
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = ours.get();
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, ours.get(), &event) != 0) {
    return {};
  }
  watcher_->watch(net::FdWatcher::kReadable);
  files_[ours.get()] = file;
  file->stream = std::make_unique<StreamWriter>(std::move(ours));
  return theirs;
}

void StreamSet::remove(RemoteFile& file) {
  if (file.stream) {
    files_.erase(file.stream->fd());  // closing takes it out of the epoll set
    if (files_.empty()) {
      watcher_->watch(net::FdWatcher::kNone);
    }
  }
}

void StreamSet::on_ready() {
  std::array<epoll_event, 64> events;
  const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), 0);
  for (int i = 0; i < count; ++i) {
    const auto found = files_.find(events[static_cast<std::size_t>(i)].data.fd);
    if (found != files_.end()) {
      const std::shared_ptr<RemoteFile> file = found->second;
      drain(file, kTurnBudget);
      if (file->unanswered_bytes > kMaxUnanswered) {
        pause(*file);
      }
    }
  }
}

void StreamSet::drain_all() {
  if (files_.empty()) {
    return;
  }
  std::array<epoll_event, 64> events;
  int count = 0;
  do {
    count = ::epoll_wait(epoll_.get(), events.data(), events.size(), 0);
    for (int i = 0; i < count; ++i) {
      const auto found = files_.find(events[static_cast<std::size_t>(i)].data.fd);
      if (found != files_.end()) {
        drain(std::shared_ptr<RemoteFile>(found->second), kStreamBuffer * 2);
      }
    }
    // A full batch may hide more streams; those drained now are not reported again.
  } while (count == static_cast<int>(events.size()));
  std::vector<std::shared_ptr<RemoteFile>> paused;
  for (const auto& [fd, file] : files_) {
    if (file->stream->is_paused_) {
      paused.push_back(file);
    }
  }
  for (const std::shared_ptr<RemoteFile>& file : paused) {
    drain(file, kStreamBuffer * 2);
  }
}

void StreamSet::drain(const std::shared_ptr<RemoteFile>& file, std::size_t budget) {
  StreamWriter& stream = *file->stream;
  while (budget > 0 && !stream.has_ended_) {
    int waiting = 0;
    ::ioctl(stream.fd(), FIONREAD, &waiting);
    const std::size_t size =
        std::clamp(static_cast<std::size_t>(std::max(waiting, 1)), std::size_t{1}, kPiece);
    proto::Bytes bytes = proto::Bytes::with_capacity(size);
    const ssize_t count = ::recv(stream.fd(), bytes.spare().data(), size, MSG_DONTWAIT);
    if (count > 0) {
      const auto got = static_cast<std::size_t>(count);
      bytes.commit(got);
      budget -= std::min(budget, got);
      handlers_.write(file, std::move(bytes));
    } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
      stream.has_ended_ = true;
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, stream.fd(), nullptr);
      handlers_.ended(file);
      return;
    } else if (errno == EAGAIN) {
      return;
    }
  }
}

void StreamSet::pause(RemoteFile& file) {
  if (file.stream->is_paused_ || file.stream->has_ended_) {
    return;
  }
  file.stream->is_paused_ = true;
  epoll_event event{};
  event.data.fd = file.stream->fd();
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, file.stream->fd(), &event);
}

void StreamSet::resume(const std::shared_ptr<RemoteFile>& file) {
  if (!file->stream || !file->stream->is_paused_ || file->unanswered_bytes > kMaxUnanswered / 2) {
    return;
  }
  file->stream->is_paused_ = false;
  if (!file->stream->has_ended_) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = file->stream->fd();
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, file->stream->fd(), &event);
  }
}

}  // namespace mirrord::intproxy
