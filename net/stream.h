// net/stream.h — a connected byte stream (TCP or UNIX) on the loop, with gathered writes and
// explicit back-pressure.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "net/error.h"
#include "net/fd.h"
#include "net/loop.h"
#include "net/payload_pipe.h"

namespace mirrord::net {

// Bytes waiting to be written, with the malloc'ed block, or the pipe, that holds them. Move-only.
struct Chunk {
  struct Free {
    void operator()(std::byte* block) const { std::free(block); }
  };
  std::unique_ptr<std::byte, Free> owner;
  const std::byte* data = nullptr;  // null: in `pipe`
  std::size_t size = 0;
  LeasedPipe pipe;

  static Chunk copy_of(std::span<const std::byte> bytes);
  // Takes over `block`, which malloc or realloc returned.
  static Chunk take(std::byte* block, std::size_t offset, std::size_t size) {
    return {std::unique_ptr<std::byte, Free>(block), block + offset, size, nullptr};
  }
  static Chunk of_pipe(LeasedPipe pipe) {
    const std::size_t size = (*pipe)->size();
    return {nullptr, nullptr, size, std::move(pipe)};
  }
};

// Reads into memory that its user hands out (so a large payload arrives where it stays) and
// writes a queue of chunks with writev. Nothing is read while `pause_reading` is in force: that is
// how a relay holds back a fast sender. Any callback may destroy the stream.
class Stream {
 public:
  // Where bytes go: into `first`, then into `second`, which may be empty.
  struct Space {
    std::span<std::byte> first, second;
    template <std::size_t N>
    Space(std::span<std::byte, N> one) : first(one) {}  // NOLINT(google-explicit-constructor)
    Space(std::span<std::byte> one, std::span<std::byte> two) : first(one), second(two) {}
    [[nodiscard]] std::size_t size() const { return first.size() + second.size(); }
  };

  struct Handlers {
    // Where the next bytes go; at least one byte long.
    std::move_only_function<Space()> buffer;
    // `count` bytes have been put into the space that `buffer` returned last.
    std::move_only_function<void(std::size_t count)> received;
    // The peer has finished sending. Writing may go on.
    std::move_only_function<void()> ended;
    // The stream is unusable in both directions. Called once, nothing is called afterwards. When
    // writing fails, what the peer has sent before is still delivered first.
    std::move_only_function<void(Error error)> failed;
    // The queue has fallen below half of the high mark after having been above it. Optional.
    std::move_only_function<void()> drained;
    // After finish_writing or finish_without_end: the queue is written. Optional.
    std::move_only_function<void()> finished;
  };

  // Takes a connected, or connecting, socket. Sets O_NONBLOCK and, for TCP, TCP_NODELAY.
  Stream(Loop& loop, Fd socket, std::string peer_name);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void start(Handlers handlers);
  void pause_reading();
  void resume_reading();
  // Queues bytes. They leave at the end of the loop's present iteration, with all the others.
  void write(Chunk chunk);
  void write(std::span<const std::byte> bytes) { write(Chunk::copy_of(bytes)); }
  // Tries to write the queue now.
  void flush();
  // Both at once, for what somebody waits for; the bytes are the caller's again afterwards.
  void write_now(std::span<const std::byte> bytes);
  // Shuts down the sending side once the queue is written.
  void finish_writing();
  // The same without the shutdown, for a connection that must not seem to end well.
  void finish_without_end();
  // Makes the close send a reset instead of an orderly end (TCP).
  void reset_on_close();

  [[nodiscard]] std::size_t queued_bytes() const { return queued_; }
  [[nodiscard]] bool is_above_high_mark() const { return queued_ > kHighMark; }
  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] bool has_finished_writing() const { return write_finished_; }

  static constexpr std::size_t kHighMark = 1 << 20;
  // Most bytes taken from one stream before the loop turns to others. Little, so that a relay writes
  // them on while they are still in the processor's cache and the far side can begin with them.
  static constexpr std::size_t kReadBudget = 256 * 1024;

 private:
  void on_ready(int events);
  void read_available();
  ssize_t receive(const Space& space);
  bool enqueue(Chunk&& chunk);
  ssize_t send_first();
  bool write_available();  // false when the stream failed (and may be gone)
  void update_interest();
  bool write_failed(int error_number);
  bool notify_written();
  void fail(int error_number, std::string_view tried);

  Loop& loop_;
  Fd socket_;
  std::string peer_name_;
  std::shared_ptr<Handlers> handlers_ = std::make_shared<Handlers>();
  std::deque<Chunk> queue_;
  std::size_t queued_ = 0;
  bool reading_ = false;
  bool read_ended_ = false;
  bool write_shut_wanted_ = false;
  bool write_finished_ = false;
  bool sends_end_ = true;
  bool flush_scheduled_ = false;
  bool was_above_mark_ = false;
  bool failed_ = false;
  int write_error_ = 0;  // writing has failed, reading goes on to its end
  // Set to false by the destructor: code that ran a callback looks at it before touching `this`.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::unique_ptr<FdWatcher> watcher_;  // after socket_: it must go first
};

}  // namespace mirrord::net
