// applets/intproxy/outgoing_stream.cpp — relays bytes between a program and the agent's messages.
#include "applets/intproxy/outgoing_stream.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "net/unix_socket.h"

namespace mirrord::intproxy {

namespace {

constexpr std::chrono::milliseconds kResetPoll{10};
// This much goes out at once, while it is in the processor's cache, not with the rest of a batch.
constexpr std::size_t kFlushAt = 256 * 1024;

net::Chunk chunk_of(proto::Bytes&& bytes) {
  const std::size_t size = bytes.size();
  return net::Chunk::take(bytes.release(), 0, size);
}

void reset(Fd socket) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

}  // namespace

OutgoingStream::OutgoingStream(OutgoingHub& hub, std::uint64_t id, AgentLink::Outgoing kind,
                               proto::SocketAddress remote)
    : OutgoingEntry(hub, id, kind, std::move(remote)), created_at_ms_(hub.loop().now_ms()) {}

OutgoingStream::~OutgoingStream() {
  if (!listener_path_.empty()) {
    ::unlink(listener_path_.c_str());
  }
}

Status OutgoingStream::listen_at(const std::string& path) {
  const auto address = net::unix_address(path);
  if (!address) {
    return fail_system("listen at " + path, ENAMETOOLONG);
  }
  const int type = kind() == AgentLink::Outgoing::kTcp ? SOCK_STREAM : SOCK_SEQPACKET;
  listener_ = Fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener_ ||
      ::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0 ||
      ::listen(listener_.get(), 1) != 0) {
    return fail_system("listen at " + path, errno);
  }
  listener_path_ = path;
  listener_watcher_ = std::make_unique<net::FdWatcher>(hub_.loop(), listener_.get(), [this](int) {
    Fd peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (peer) {
      accept(std::move(peer));
    }
  });
  listener_watcher_->watch(net::FdWatcher::kReadable);
  return {};
}

void OutgoingStream::accept(Fd socket) {
  if (is_accepted_) {
    return;  // one connect, one connection
  }
  is_accepted_ = true;
  listener_watcher_.reset();
  listener_.reset();
  if (!listener_path_.empty()) {
    ::unlink(std::exchange(listener_path_, {}).c_str());
  }
  if (state() == State::kFailed) {
    reset(std::move(socket));
    hub_.erase(*this);
    return;
  }
  socket_ = std::move(socket);
  if (state() != State::kAsking) {
    start();
  }
}

void OutgoingStream::opened() {
  if (is_accepted_) {
    start();
  }
}

void OutgoingStream::failed(bool is_expected) {
  if (is_accepted_) {
    reset(std::move(socket_));
  }
  if (is_accepted_ || !is_expected) {
    hub_.erase(*this);
  }
}

void OutgoingStream::start() {
  if (kind() == AgentLink::Outgoing::kSeqpacket) {
    start_packets();
  } else {
    start_stream();
  }
  if (holds_ != 0) {
    stream_ ? stream_->pause_reading() : packets_->pause_reading();
  }
  early_bytes_ = 0;
  for (proto::Bytes& bytes : std::exchange(early_, {})) {
    const bool is_end = bytes.empty();
    deliver(std::move(bytes));
    if (is_end) {
      return;  // the last one, and perhaps the end of this
    }
  }
  if (queued_bytes() <= net::Stream::kHighMark) {
    release_agent();  // packets went out at once: nothing will report that it has drained
  }
  if (is_resetting_) {
    finish_for_reset();
  }
}

void OutgoingStream::start_stream() {
  stream_ = std::make_unique<net::Stream>(hub_.loop(), std::move(socket_), "the program");
  net::Stream::Handlers handlers;
  handlers.buffer = [this] { return hub_.receive_buffer().space(); };
  handlers.received = [this](std::size_t count) { received(count); };
  handlers.ended = [this] { program_ended(); };
  handlers.failed = [this](const Error&) { program_failed(); };
  handlers.drained = [this] { release_agent(); };
  handlers.finished = [this] { written(); };
  stream_->start(std::move(handlers));
}

void OutgoingStream::start_packets() {
  packets_ = std::make_unique<net::PacketSocket>(
      hub_.loop(), std::move(socket_), net::PacketSocket::Kind::kSeqpacket,
      [this] { return hub_.receive_buffer().space(); }, "the program");
  net::PacketSocket::Handlers handlers;
  handlers.received = [this](std::size_t count) { received(count); };
  handlers.ended = [this] { program_ended(); };
  handlers.failed = [this](const Error&) { program_failed(); };
  handlers.drained = [this] { release_agent(); };
  handlers.finished = [this] { written(); };
  packets_->start(std::move(handlers));
}

// ---- from the program

void OutgoingStream::received(std::size_t count) {
  send_data(hub_.receive_buffer().take(count));
  if (is_send_queue_full()) {
    hold(kQueueFull);
  }
}

void OutgoingStream::program_ended() {
  program_has_ended_ = true;
  send_data({});
  erase_if_done();
}

void OutgoingStream::program_failed() {
  close_at_agent(proto::Hint::kReset);
  hub_.erase(*this);
}

void OutgoingStream::room_came() {
  release(kQueueFull);
}

void OutgoingStream::hold_data(bool is_held) {
  if (is_held) {
    hold(kAgentPause);
  } else {
    release(kAgentPause);
  }
}

void OutgoingStream::hold(Hold reason) {
  if (std::exchange(holds_, holds_ | reason) != 0) {
    return;
  }
  if (stream_) {
    stream_->pause_reading();
  } else if (packets_) {
    packets_->pause_reading();
  }
}

void OutgoingStream::release(Hold reason) {
  if (std::exchange(holds_, holds_ & ~static_cast<unsigned>(reason)) == 0 || holds_ != 0) {
    return;
  }
  if (stream_) {
    stream_->resume_reading();
  } else if (packets_) {
    packets_->resume_reading();
  }
}

// ---- to the program

void OutgoingStream::data_came(proto::Bytes&& bytes) {
  if (remote_has_ended_) {
    return;
  }
  const bool is_end = bytes.empty();
  remote_has_ended_ = is_end;
  hub_.queued_more(bytes.size());
  if (stream_ || packets_) {
    deliver(std::move(bytes));
  } else {
    early_bytes_ += bytes.size();
    early_.push_back(std::move(bytes));
  }
  if (is_end) {
    return;  // delivering the end may have been the end of this
  }
  if (queued_bytes() > net::Stream::kHighMark && !is_pausing_agent_) {
    is_pausing_agent_ = true;
    send_hint(proto::Hint::kPause);
  }
  if (stream_ && stream_->queued_bytes() > kFlushAt) {
    stream_->flush();  // may fail, and then this is gone
  }
}

// May destroy the entry when `bytes` is the end.
void OutgoingStream::deliver(proto::Bytes&& bytes) {
  if (bytes.empty()) {
    stream_ ? stream_->finish_writing() : packets_->finish_writing();
  } else if (stream_) {
    stream_->write(chunk_of(std::move(bytes)));
  } else {
    packets_->write(chunk_of(std::move(bytes)));
  }
}

void OutgoingStream::release_agent() {
  if (std::exchange(is_pausing_agent_, false)) {
    send_hint(proto::Hint::kResume);
  }
}

// Everything for the program is in its socket: the end too, or all that comes before a reset.
void OutgoingStream::written() {
  if (is_resetting_) {
    if (stream_) {
      reset_when_delivered();
    } else {
      hub_.erase(*this);
    }
    return;
  }
  is_end_delivered_ = true;
  erase_if_done();
}

void OutgoingStream::erase_if_done() {
  // A program that has a copy may answer for as long as it likes: nobody resets it.
  const bool is_over = program_has_ended_ || (is_gone_ && kind() != AgentLink::Outgoing::kMirrored);
  if (remote_has_ended_ && is_end_delivered_ && is_over) {
    forget_agent_connection();  // the agent has seen both ends too
    hub_.erase(*this);
  }
}

void OutgoingStream::closed_by_agent() {
  forget_agent_connection();
  lost();
}

// The connection is gone. After a proper end that is all; without one the program must not take
// what it has for everything.
void OutgoingStream::lost() {
  is_gone_ = true;
  release(kQueueFull);  // read on, to notice when the program goes
  release(kAgentPause);
  if (remote_has_ended_) {
    erase_if_done();
    return;
  }
  is_resetting_ = true;
  if (stream_ || packets_) {
    finish_for_reset();
  }
}

void OutgoingStream::finish_for_reset() {
  if (stream_) {
    stream_->finish_without_end();  // calls written()
  } else {
    packets_->finish_writing();
  }
}

// A reset throws away what the system has not passed on yet: waits until the program has all.
void OutgoingStream::reset_when_delivered() {
  const std::uint64_t now = hub_.loop().now_ms();
  if (resetting_since_ms_ == 0) {
    resetting_since_ms_ = now;
  }
  int unsent = 0;
  ::ioctl(stream_->fd(), SIOCOUTQ, &unsent);
  if (unsent == 0 || now - resetting_since_ms_ > kResetPatienceMs) {
    stream_->reset_on_close();
    hub_.erase(*this);
    return;
  }
  if (!reset_timer_) {
    reset_timer_ = std::make_unique<net::Timer>(hub_.loop());
  }
  reset_timer_->start(kResetPoll, [this] { reset_when_delivered(); });
}

std::size_t OutgoingStream::queued_bytes() const {
  return stream_ ? stream_->queued_bytes() : packets_ ? packets_->queued_bytes() : early_bytes_;
}

void OutgoingStream::tick(std::uint64_t now_ms) {
  if (!is_accepted_ && state() != State::kAsking && now_ms - created_at_ms_ > kUnclaimedMs) {
    hub_.erase(*this);
  }
}

}  // namespace mirrord::intproxy
