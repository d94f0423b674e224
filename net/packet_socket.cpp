// net/packet_socket.cpp — receives and sends packets one by one, with their boundaries.
#include "net/packet_socket.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace mirrord::net {

namespace {

// Packets taken from one socket before the loop turns to others.
constexpr int kPacketBudget = 64;

// Errors of one packet, not of the socket.
bool is_of_packet(int error_number) {
  return error_number == EMSGSIZE || error_number == ENOBUFS || error_number == EPERM ||
         error_number == EHOSTUNREACH || error_number == ENETUNREACH;
}

}  // namespace

PacketSocket::PacketSocket(Loop& loop, Fd socket, Kind kind, Buffer buffer, std::string peer_name)
    : loop_(loop),
      socket_(std::move(socket)),
      kind_(kind),
      buffer_(std::move(buffer)),
      peer_name_(std::move(peer_name)) {
  watcher_ =
      std::make_unique<FdWatcher>(loop_, socket_.get(), [this](int events) { on_ready(events); });
}

PacketSocket::~PacketSocket() {
  *alive_ = false;
}

void PacketSocket::start(Handlers handlers) {
  handlers_ = std::make_shared<Handlers>(std::move(handlers));
  resume_reading();
}

void PacketSocket::pause_reading() {
  is_reading_ = false;
  update_interest();
}

void PacketSocket::resume_reading() {
  is_reading_ = true;
  update_interest();
}

void PacketSocket::write(Chunk packet) {
  if (has_failed_ || wants_shut_ || packet.size == 0) {
    return;
  }
  if (queue_.empty()) {
    int error_number = 0;
    if (send_one(packet, error_number)) {
      return;
    }
    if (error_number != EAGAIN) {
      // A failed packet is noticed by the next read too: report it from the loop, not from here.
      loop_.defer([this, alive = alive_, error_number] {
        if (*alive && !has_failed_) {
          fail(error_number, "send to ");
        }
      });
      return;
    }
  }
  if (kind_ == Kind::kDatagram && is_above_high_mark()) {
    return;
  }
  queued_ += packet.size;
  queue_.push_back(std::move(packet));
  was_above_mark_ = was_above_mark_ || is_above_high_mark();
  update_interest();
}

void PacketSocket::finish_writing() {
  wants_shut_ = true;
  shut_when_sent();
}

void PacketSocket::shut_when_sent() {
  if (wants_shut_ && !is_shut_ && queue_.empty()) {
    is_shut_ = true;
    ::shutdown(socket_.get(), SHUT_WR);
    const std::shared_ptr<Handlers> handlers = handlers_;
    if (handlers->finished) {
      handlers->finished();
    }
  }
}

// True when the packet is dealt with; else `error_number` says why not (EAGAIN: not yet).
bool PacketSocket::send_one(const Chunk& packet, int& error_number) {
  while (::send(socket_.get(), packet.data, packet.size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    error_number = errno == EWOULDBLOCK ? EAGAIN : errno;
    if (kind_ == Kind::kDatagram && is_of_packet(error_number)) {
      return true;  // lost on the way, as datagrams may be
    }
    if (error_number != EINTR) {
      return false;
    }
  }
  return true;
}

void PacketSocket::on_ready(int events) {
  const std::shared_ptr<bool> alive = alive_;
  if ((events & FdWatcher::kWritable) != 0 && !write_available()) {
    return;
  }
  if (*alive && (events & FdWatcher::kReadable) != 0 && is_reading_ && !has_read_end_) {
    read_available();
  }
  if (*alive && !has_failed_) {
    update_interest();
  }
}

void PacketSocket::read_available() {
  const std::shared_ptr<bool> alive = alive_;
  const std::shared_ptr<Handlers> handlers = handlers_;
  for (int i = 0; i < kPacketBudget && is_reading_ && !has_read_end_; ++i) {
    const std::span<std::byte> space = buffer_();
    const ssize_t count = ::recv(socket_.get(), space.data(), space.size(), MSG_DONTWAIT);
    if (count > 0) {
      handlers->received(static_cast<std::size_t>(count));
      if (!*alive || has_failed_) {
        return;
      }
    } else if (count == 0) {
      if (kind_ == Kind::kSeqpacket) {
        has_read_end_ = true;
        update_interest();
        handlers->ended();
        return;
      }
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return;
    } else if (errno != EINTR) {
      fail(errno, "receive from ");
      return;
    }
  }
}

bool PacketSocket::write_available() {
  while (!queue_.empty()) {
    int error_number = 0;
    if (!send_one(queue_.front(), error_number)) {
      if (error_number == EAGAIN) {
        break;
      }
      fail(error_number, "send to ");
      return false;
    }
    queued_ -= queue_.front().size;
    queue_.pop_front();
  }
  const std::shared_ptr<bool> alive = alive_;
  const std::shared_ptr<Handlers> handlers = handlers_;
  if (was_above_mark_ && queued_ <= Stream::kHighMark / 2) {
    was_above_mark_ = false;
    if (handlers->drained) {
      handlers->drained();
    }
  }
  if (*alive && !has_failed_) {
    shut_when_sent();
  }
  return *alive && !has_failed_;
}

void PacketSocket::update_interest() {
  if (has_failed_) {
    return;
  }
  const bool reads = is_reading_ && !has_read_end_;
  watcher_->watch((reads ? FdWatcher::kReadable : 0) | (queue_.empty() ? 0 : FdWatcher::kWritable));
}

void PacketSocket::fail(int error_number, const char* tried) {
  has_failed_ = true;
  watcher_->watch(FdWatcher::kNone);
  queue_.clear();
  queued_ = 0;
  const std::shared_ptr<Handlers> handlers = handlers_;
  if (handlers->failed) {
    handlers->failed(system_error(tried + peer_name_, error_number));
  }
}

}  // namespace mirrord::net
