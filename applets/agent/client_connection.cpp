// applets/agent/client_connection.cpp — a stream or a packet socket behind one face.
#include "applets/agent/client_connection.h"

#include <utility>

namespace mirrord::agent {

ClientConnection::ClientConnection(ConnectionOwner& owner, SocketKind kind, proto::ConnectionId id,
                                   Fd socket, std::string peer_name)
    : owner_(owner), kind_(kind), id_(id), peer_name_(std::move(peer_name)) {
  if (kind == SocketKind::kTcp) {
    stream_ = std::make_unique<net::Stream>(owner.loop(), std::move(socket), peer_name_);
    return;
  }
  const auto packet_kind = kind == SocketKind::kUdp ? net::PacketSocket::Kind::kDatagram
                                                    : net::PacketSocket::Kind::kSeqpacket;
  packets_ = std::make_unique<net::PacketSocket>(
      owner.loop(), std::move(socket), packet_kind,
      [this] { return owner_.receive_buffer().space(); }, peer_name_);
}

void ClientConnection::start() {
  if (stream_) {
    net::Stream::Handlers handlers;
    handlers.buffer = [this] { return owner_.receive_buffer().space(); };
    handlers.received = [this](std::size_t count) { owner_.received(*this, count); };
    handlers.ended = [this] { owner_.peer_ended(*this); };
    handlers.failed = [this](Error error) { owner_.failed(*this, error); };
    handlers.drained = [this] { owner_.drained(*this); };
    handlers.finished = [this] { owner_.sent_end(*this); };
    stream_->start(std::move(handlers));
    return;
  }
  net::PacketSocket::Handlers handlers;
  handlers.received = [this](std::size_t count) { owner_.received(*this, count); };
  handlers.ended = [this] { owner_.peer_ended(*this); };
  handlers.failed = [this](Error error) { owner_.failed(*this, error); };
  handlers.drained = [this] { owner_.drained(*this); };
  handlers.finished = [this] { owner_.sent_end(*this); };
  packets_->start(std::move(handlers));
}

void ClientConnection::write(proto::Bytes&& bytes) {
  const std::size_t size = bytes.size();
  accepted_bytes_ += size;
  net::Chunk chunk = net::Chunk::take(bytes.release(), 0, size);
  if (stream_) {
    stream_->write(std::move(chunk));
  } else {
    packets_->write(std::move(chunk));
  }
}

void ClientConnection::finish_writing() {
  if (stream_) {
    stream_->finish_writing();
  } else {
    packets_->finish_writing();
  }
}

void ClientConnection::flush() {
  if (stream_) {
    stream_->flush();
  }
}

void ClientConnection::reset_on_close() {
  if (stream_) {
    stream_->reset_on_close();
  }
}

void ClientConnection::hold_reading(Hold reason) {
  if (std::exchange(holds_, holds_ | reason) != 0) {
    return;
  }
  if (stream_) {
    stream_->pause_reading();
  } else {
    packets_->pause_reading();
  }
}

void ClientConnection::release_reading(Hold reason) {
  if (std::exchange(holds_, holds_ & ~static_cast<unsigned>(reason)) == 0 || holds_ != 0) {
    return;
  }
  if (stream_) {
    stream_->resume_reading();
  } else {
    packets_->resume_reading();
  }
}

std::size_t ClientConnection::queued_bytes() const {
  return stream_ ? stream_->queued_bytes() : packets_->queued_bytes();
}

std::uint64_t ClientConnection::stalled_ms(std::uint64_t now_ms) {
  const std::uint64_t written = accepted_bytes_ - queued_bytes();
  if (written != seen_written_bytes_ || queued_bytes() == 0 || progress_at_ms_ == 0) {
    seen_written_bytes_ = written;
    progress_at_ms_ = now_ms;
  }
  return now_ms - progress_at_ms_;
}

}  // namespace mirrord::agent
