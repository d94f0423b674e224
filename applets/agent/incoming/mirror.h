// applets/agent/incoming/mirror.h — copies of incoming traffic on their way to a mirroring client.
//
// A copy never slows the connection that it is made of. What the client does not take at once waits
// in a buffer of kCap bytes for all its connections together; what does not fit there is lost: that
// copy ends, and a warning counts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <unordered_map>

#include "applets/agent/client.h"
#include "proto/daemon_message.h"

namespace mirrord::agent {

class Mirror;

// One copied connection or request, held by what it is a copy of. Outlives the client if need be:
// then everything is a no-op.
class MirrorCopy {
 public:
  MirrorCopy(Mirror* mirror, proto::ConnectionId id) : mirror_(mirror), id_(id) {}
  ~MirrorCopy();  // the connection is over
  MirrorCopy(const MirrorCopy&) = delete;
  MirrorCopy& operator=(const MirrorCopy&) = delete;

  void data(std::span<const std::byte> bytes);  // empty: the peer will send no more
  // Any message of this connection; `size` is about what it takes in memory.
  void send(proto::DaemonTcp&& message, std::size_t size);

  [[nodiscard]] proto::ConnectionId id() const { return id_; }
  [[nodiscard]] bool is_wanted() const { return mirror_ != nullptr; }

 private:
  friend class Mirror;
  Mirror* mirror_;  // null: the client wants no more of it, or has gone
  proto::ConnectionId id_;
};

// All copies of one client.
class Mirror {
 public:
  static constexpr std::size_t kCap = 8 << 20;

  explicit Mirror(ClientLink& link);
  ~Mirror();
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  // Announce it with send() before anything else.
  std::unique_ptr<MirrorCopy> open();
  void unsubscribe(proto::ConnectionId id);  // the client wants no more of this one
  void end_all();
  void on_drained();

 private:
  friend class MirrorCopy;
  struct Waiting {
    proto::DaemonTcp message;
    std::size_t size;
  };
  void send(MirrorCopy& copy, proto::DaemonTcp&& message, std::size_t size);
  void close(MirrorCopy& copy);
  void lose(MirrorCopy& copy);
  void warn();
  void pass_on(proto::DaemonTcp&& message);

  ClientLink& link_;
  proto::ConnectionId next_id_ = 0;
  std::unordered_map<proto::ConnectionId, MirrorCopy*> copies_;
  std::deque<Waiting> waiting_;
  std::size_t waiting_bytes_ = 0;
  std::uint64_t lost_ = 0;  // copies since the last warning
  net::Timer warning_;
};

}  // namespace mirrord::agent
