// applets/intproxy/stream_writer.h — write-only files: bytes out of a socket pair, in order, to the
// agent.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "applets/intproxy/agent_link.h"
#include "applets/intproxy/remote_file.h"
#include "net/fd.h"
#include "net/loop.h"

namespace mirrord::intproxy {

class WriteQueue;

// The intproxy's end of one file's socket pair.
class StreamWriter {
 public:
  explicit StreamWriter(Fd socket) : socket_(std::move(socket)) {}
  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] bool has_ended() const { return has_ended_; }
  void abandon() { has_ended_ = true; }  // the program never got its end

  std::uint64_t position = 0;  // of the next byte (not when the file is opened with O_APPEND)

 private:
  friend class StreamSet;
  Fd socket_;
  bool has_ended_ = false;  // nobody can write any more
  bool is_paused_ = false;  // too much is unanswered
};

// All streams of a session. One epoll descriptor says which of them have bytes: whatever a program
// wrote before it sent a request is found with one system call.
class StreamSet {
 public:
  // `write` sends bytes of a file to the agent; `ended`: the last writer is gone.
  struct Handlers {
    std::move_only_function<void(const std::shared_ptr<RemoteFile>&, proto::Bytes&&)> write;
    std::move_only_function<void(const std::shared_ptr<RemoteFile>&)> ended;
  };

  StreamSet(net::Loop& loop, Handlers handlers);
  StreamSet(const StreamSet&) = delete;
  StreamSet& operator=(const StreamSet&) = delete;

  // Makes the pair; returns the program's end, or a closed descriptor with errno set.
  Fd add(const std::shared_ptr<RemoteFile>& file);
  void remove(RemoteFile& file);
  // Takes everything that has been written so far, however much is unanswered.
  void drain_all();
  void resume(const std::shared_ptr<RemoteFile>& file);
  [[nodiscard]] bool is_empty() const { return files_.empty(); }

  static constexpr std::size_t kPiece = 256 * 1024;
  static constexpr std::size_t kMaxUnanswered = 8 << 20;  // of one file

 private:
  void on_ready();
  void drain(const std::shared_ptr<RemoteFile>& file, std::size_t budget);
  void pause(RemoteFile& file);

  net::Loop& loop_;
  Handlers handlers_;
  Fd epoll_;
  std::unordered_map<int, std::shared_ptr<RemoteFile>> files_;  // by our end of the pair
  std::unique_ptr<net::FdWatcher> watcher_;
};

}  // namespace mirrord::intproxy
