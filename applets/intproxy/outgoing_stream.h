// applets/intproxy/outgoing_stream.h — the program's side of a TCP, UNIX stream or seqpacket connection.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "applets/intproxy/outgoing_entry.h"
#include "net/fd.h"
#include "net/packet_socket.h"
#include "net/stream.h"

namespace mirrord::intproxy {

// Waits for both, the program's connection to the relay and the agent's outcome; moves bytes while
// both are there. Back-pressure: the program is not read from while the queue to the agent is full
// or the agent asked for a pause; the agent is asked for a pause while the program does not read.
class OutgoingStream final : public OutgoingEntry {
 public:
  OutgoingStream(OutgoingHub& hub, std::uint64_t id, AgentLink::Outgoing kind,
                 proto::SocketAddress remote);
  ~OutgoingStream() override;

  // The program has come. May destroy the entry.
  void accept(Fd socket);
  // Opens a listener of its own at `path`, for programs that connect by path.
  Status listen_at(const std::string& path);
  [[nodiscard]] bool is_accepted() const { return is_accepted_; }

  void data_came(proto::Bytes&& bytes) override;
  void closed_by_agent() override;
  void hold_data(bool is_held) override;
  void room_came() override;
  void tick(std::uint64_t now_ms) override;
  [[nodiscard]] std::size_t queued_bytes() const override;

  // A program that was promised a relay comes at once, or never.
  static constexpr std::uint64_t kUnclaimedMs = 60'000;
  // How long the last bytes may stay in the socket before a reset drops them.
  static constexpr std::uint64_t kResetPatienceMs = 30'000;

 private:
  enum Hold : unsigned { kQueueFull = 1, kAgentPause = 2 };

  void opened() override;
  void failed(bool is_expected) override;
  void lost() override;
  void start();
  void start_stream();
  void start_packets();
  void deliver(proto::Bytes&& bytes);
  void received(std::size_t count);
  void program_ended();
  void program_failed();
  void release_agent();
  void written();
  void finish_for_reset();
  void reset_when_delivered();
  void hold(Hold reason);
  void release(Hold reason);
  void erase_if_done();

  Fd socket_;                            // until it is started
  std::unique_ptr<net::Stream> stream_;  // one of the two
  std::unique_ptr<net::PacketSocket> packets_;
  Fd listener_;
  std::string listener_path_;
  std::unique_ptr<net::FdWatcher> listener_watcher_;
  std::deque<proto::Bytes> early_;  // came before the program did
  std::size_t early_bytes_ = 0;
  unsigned holds_ = 0;
  bool is_accepted_ = false;
  bool program_has_ended_ = false;
  bool remote_has_ended_ = false;
  bool is_end_delivered_ = false;
  bool is_pausing_agent_ = false;
  bool is_gone_ = false;       // at the agent
  bool is_resetting_ = false;  // … without an end
  std::uint64_t created_at_ms_;
  std::uint64_t resetting_since_ms_ = 0;
  std::unique_ptr<net::Timer> reset_timer_;
};

}  // namespace mirrord::intproxy
