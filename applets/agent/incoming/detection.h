// applets/agent/incoming/detection.h — waits for a connection's first bytes and tells what it speaks.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <span>

#include "net/fd.h"
#include "net/http/detect.h"
#include "net/loop.h"

namespace mirrord::agent {

// The bytes stay in the socket: whoever takes the connection over reads them as if nobody had looked. What is not
// decided within the time limit, or by the end of what the client sends, is not HTTP.
class HttpDetection {
 public:
  using Detected = net::http::Detected;
  // Never kNeedsMore. May destroy the detection.
  using Done = std::move_only_function<void(Fd socket, Detected what)>;

  HttpDetection(net::Loop& loop, Fd socket, std::chrono::milliseconds limit)
      : loop_(loop), socket_(std::move(socket)), limit_(limit) {}
  HttpDetection(const HttpDetection&) = delete;
  HttpDetection& operator=(const HttpDetection&) = delete;

  // The outcome if it is known already: then the socket is to be taken. Else `done` gets both later.
  std::optional<Detected> start(Done done);
  Fd take_socket() { return std::move(socket_); }

 private:
  Detected look();
  void look_again();
  void finish(Detected what);

  net::Loop& loop_;
  Fd socket_;
  std::chrono::milliseconds limit_;
  Done done_;
  int wanted_bytes_ = 1;  // SO_RCVLOWAT: the loop wakes for more than was seen
  std::optional<net::FdWatcher> watcher_;
  std::optional<net::Timer> pause_, deadline_;
};

}  // namespace mirrord::agent
