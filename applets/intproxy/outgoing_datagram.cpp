// applets/intproxy/outgoing_datagram.cpp — relays datagrams, and the life of an association.
#include "applets/intproxy/outgoing_datagram.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace mirrord::intproxy {

OutgoingDatagram::OutgoingDatagram(OutgoingHub& hub, std::uint64_t id, proto::SocketAddress remote,
                                   std::uint64_t process_key)
    : OutgoingEntry(hub, id, AgentLink::Outgoing::kUdp, std::move(remote)),
      process_key_(process_key),
      used_at_ms_(hub.loop().now_ms()) {}

Result<net::Endpoint> OutgoingDatagram::open(const net::Endpoint& program) {
  program_ = program;
  MIRRORD_TRY(socket, make_socket(0));
  adopt(std::move(socket));
  return own_;
}

Result<Fd> OutgoingDatagram::make_socket(std::uint16_t port) {
  const net::Endpoint own{
      program_.ip.is_v6 ? net::IpAddress::v6_loopback() : net::IpAddress::v4(127, 0, 0, 1), port};
  Fd socket(::socket(own.ip.family(), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_storage storage;
  socklen_t length = own.to_sockaddr(storage);
  if (!socket || ::bind(socket.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) {
    return fail_system("open a UDP socket on loopback", errno);
  }
  ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&storage), &length);
  own_ = net::Endpoint::from_sockaddr(storage).value_or(own);
  length = program_.to_sockaddr(storage);
  // From now on only the program's own packets get in.
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) {
    return fail_system("connect a UDP socket to " + program_.to_string(), errno);
  }
  return socket;
}

void OutgoingDatagram::adopt(Fd socket) {
  socket_ = std::make_unique<net::PacketSocket>(
      hub_.loop(), std::move(socket), net::PacketSocket::Kind::kDatagram,
      [this] { return hub_.receive_buffer().space(); }, program_.to_string());
}

void OutgoingDatagram::start_reading() {
  net::PacketSocket::Handlers handlers;
  handlers.received = [this](std::size_t count) { received(count); };
  handlers.failed = [this](const Error&) { hub_.erase(*this); };  // the program is not there
  socket_->start(std::move(handlers));
}

void OutgoingDatagram::opened() {
  used_at_ms_ = hub_.loop().now_ms();
  if (!held_.empty()) {
    send_data(std::exchange(held_, {}));
  }
  if (is_started_) {
    socket_->resume_reading();
    return;
  }
  is_started_ = true;
  start_reading();
}

void OutgoingDatagram::failed(bool /*is_expected*/) {
  hub_.erase(*this);  // the program's next packet is refused
}

void OutgoingDatagram::lost() {
  hub_.erase(*this);
}

// As if nobody answered at the destination just now: the next packet makes the agent's side anew.
void OutgoingDatagram::interrupted() {
  set_idle();
  if (program_socket_ && is_started_) {
    refuse_program();
  }
}

void OutgoingDatagram::received(std::size_t count) {
  used_at_ms_ = hub_.loop().now_ms();
  if (state() == State::kOpen) {
    if (!is_send_queue_full()) {
      send_data(hub_.receive_buffer().take(count));
    }
    return;
  }
  held_ = hub_.receive_buffer().take(count);
  socket_->pause_reading();
  connect();
}

void OutgoingDatagram::data_came(proto::Bytes&& bytes) {
  if (!bytes.empty()) {
    used_at_ms_ = hub_.loop().now_ms();
    const std::size_t size = bytes.size();
    socket_->write(net::Chunk::take(bytes.release(), 0, size));
  }
}

// The agent's side has ended, say because nobody answered at the destination: somebody may later.
void OutgoingDatagram::closed_by_agent() {
  forget_agent_connection();
  if (program_socket_ && is_started_) {
    refuse_program();
  }
}

// Nothing can make an error of somebody else's socket but the kernel: for a moment nobody is at the
// port that the program's socket is connected to, and an empty datagram sent through that very
// socket comes back as "port unreachable". Whoever waits in the program wakes up with ECONNREFUSED.
void OutgoingDatagram::refuse_program() {
  socket_.reset();
  ::send(program_socket_.get(), "", 0, MSG_DONTWAIT | MSG_NOSIGNAL);
  Result<Fd> again = make_socket(own_.port);
  if (!again) {
    hub_.erase(*this);  // somebody was quicker to take the port
    return;
  }
  adopt(std::move(*again));
  start_reading();
}

void OutgoingDatagram::tick(std::uint64_t now_ms) {
  const std::uint64_t idle = now_ms - used_at_ms_;
  if (idle > kForgottenMs || (idle > kIdleMs && !has_process_)) {
    hub_.erase(*this);
  } else if (idle > kIdleMs) {
    close_at_agent(proto::Hint::kNone);
    release_program_socket();  // the program may have closed it behind the hook's back
  }
}

std::size_t OutgoingDatagram::queued_bytes() const {
  return socket_->queued_bytes();
}

}  // namespace mirrord::intproxy
