// applets/agent/outgoing_connect.h — one attempt to reach an address from inside the target.
#pragma once

#include <sys/socket.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "applets/agent/target.h"
#include "net/fd.h"
#include "net/loop.h"
#include "proto/outgoing.h"

namespace mirrord::agent {

enum class SocketKind { kTcp, kUdp, kSeqpacket };  // kTcp: also UNIX streams

struct Connected {
  Fd socket;
  proto::SocketAddress remote;
  proto::SocketAddress local;
};

// Destroying it gives up.
class Connector {
 public:
  using Outcome = proto::Res<Connected>;
  static constexpr std::chrono::milliseconds kTimeout{5000};

  Connector(net::Loop& loop, const Target& target, SocketKind kind, proto::SocketAddress remote);
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  // The outcome if there is one already; else `done` gets it later, and may destroy the connector.
  std::optional<Outcome> start(std::move_only_function<void(Outcome)> done);

 private:
  bool open_socket(int& error_number);
  bool fill_unix_address(const proto::UnixAddr& address, int& error_number);
  std::optional<Outcome> try_once();
  Outcome succeed();
  void wait();
  void finish(Outcome outcome);

  net::Loop& loop_;
  const Target& target_;
  SocketKind kind_;
  proto::SocketAddress remote_;
  std::move_only_function<void(Outcome)> done_;
  Fd place_;  // the UNIX socket's file, opened with O_PATH
  Fd socket_;
  sockaddr_storage address_{};
  socklen_t address_length_ = 0;
  std::unique_ptr<net::FdWatcher> watcher_;
  std::unique_ptr<net::Timer> deadline_;
  std::unique_ptr<net::Timer> retry_;
};

}  // namespace mirrord::agent
