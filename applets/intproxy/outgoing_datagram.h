// applets/intproxy/outgoing_datagram.h — the program's side of a UDP association: one socket of ours per
// socket of the program and destination.
#pragma once

#include <memory>

#include "applets/intproxy/outgoing_entry.h"
#include "net/address.h"
#include "net/packet_socket.h"

namespace mirrord::intproxy {

// Nothing tells that a program has closed a UDP socket. So the agent's side is given back after
// kIdleMs without a packet and made anew when the program sends again; our own socket goes when
// the program's process has ended, or a reply finds nobody there.
class OutgoingDatagram final : public OutgoingEntry {
 public:
  OutgoingDatagram(OutgoingHub& hub, std::uint64_t id, proto::SocketAddress remote,
                   std::uint64_t process_key);

  // Opens the socket that the program at `program` shall send to.
  Result<net::Endpoint> open(const net::Endpoint& program);
  [[nodiscard]] std::uint64_t process_key() const { return process_key_; }
  void process_ended() {
    has_process_ = false;
    release_program_socket();
  }
  // The program's own socket, connected to ours: to tell it that nobody is at its peer's port.
  void keep_program_socket(Fd socket) { program_socket_ = std::move(socket); }
  void release_program_socket() { program_socket_.reset(); }

  void data_came(proto::Bytes&& bytes) override;
  void closed_by_agent() override;
  void hold_data(bool /*is_held*/) override {}  // packets above the agent's mark are lost
  void room_came() override {}
  void tick(std::uint64_t now_ms) override;
  [[nodiscard]] std::size_t queued_bytes() const override;

  static constexpr std::uint64_t kIdleMs = 60'000;
  static constexpr std::uint64_t kForgottenMs = 30 * 60'000;

 private:
  void opened() override;
  void failed(bool is_expected) override;
  void lost() override;
  void interrupted() override;
  void received(std::size_t count);
  Result<Fd> make_socket(std::uint16_t port);
  void adopt(Fd socket);
  void start_reading();
  void refuse_program();

  std::uint64_t process_key_;
  bool has_process_ = true;
  bool is_started_ = false;
  net::Endpoint program_;  // where the program's socket is
  net::Endpoint own_;      // where ours is
  Fd program_socket_;
  std::unique_ptr<net::PacketSocket> socket_;
  proto::Bytes held_;  // the packet that makes the agent's side anew
  std::uint64_t used_at_ms_;
};

}  // namespace mirrord::intproxy
