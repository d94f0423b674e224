// net/packet_socket.h — a connected socket whose messages have boundaries (UDP, SOCK_SEQPACKET) on
// the loop.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "net/error.h"
#include "net/fd.h"
#include "net/loop.h"
#include "net/stream.h"

namespace mirrord::net {

// Receives packet for packet, and sends what `write` is given as one packet each. Any callback may destroy the
// socket.
class PacketSocket {
 public:
  enum class Kind {
    kDatagram,   // may lose packets: so does this class, rather than to queue without limit
    kSeqpacket,  // reliable; an empty packet is the end of what the peer sends
  };
  struct Handlers {
    // One packet of `count` bytes lies at the begin of the buffer.
    std::move_only_function<void(std::size_t count)> received;
    std::move_only_function<void()> ended;  // kSeqpacket only
    // The socket is unusable. Called once, nothing is called afterwards.
    std::move_only_function<void(Error error)> failed;
    // The queue has fallen below half of Stream::kHighMark after having been above. Optional.
    std::move_only_function<void()> drained;
    // After finish_writing: all is sent and the sending side shut down. Optional.
    std::move_only_function<void()> finished;
  };
  // Where the next packet goes; as long as the longest packet that may come.
  using Buffer = std::move_only_function<std::span<std::byte>()>;

  PacketSocket(Loop& loop, Fd socket, Kind kind, Buffer buffer, std::string peer_name);
  ~PacketSocket();
  PacketSocket(const PacketSocket&) = delete;
  PacketSocket& operator=(const PacketSocket&) = delete;

  void start(Handlers handlers);
  void pause_reading();
  void resume_reading();
  void write(Chunk packet);
  // Shuts the sending direction down after what is queued (kSeqpacket).
  void finish_writing();

  [[nodiscard]] std::size_t queued_bytes() const { return queued_; }
  [[nodiscard]] bool is_above_high_mark() const { return queued_ > Stream::kHighMark; }
  [[nodiscard]] bool has_finished_writing() const { return is_shut_; }
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  void on_ready(int events);
  void read_available();
  bool write_available();  // false when the socket failed (and may be gone)
  void shut_when_sent();
  bool send_one(const Chunk& packet, int& error_number);
  void update_interest();
  void fail(int error_number, const char* tried);

  Loop& loop_;
  Fd socket_;
  Kind kind_;
  Buffer buffer_;
  std::string peer_name_;
  std::shared_ptr<Handlers> handlers_ = std::make_shared<Handlers>();
  std::deque<Chunk> queue_;
  std::size_t queued_ = 0;
  bool is_reading_ = false;
  bool has_read_end_ = false;
  bool wants_shut_ = false;
  bool is_shut_ = false;
  bool was_above_mark_ = false;
  bool has_failed_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::unique_ptr<FdWatcher> watcher_;  // after socket_: it must go first
};

}  // namespace mirrord::net
