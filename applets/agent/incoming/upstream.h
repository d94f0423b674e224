// applets/agent/incoming/upstream.h — connects to the target, past the redirect.
#pragma once

#include <sys/socket.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "applets/agent/redirect/redirector.h"
#include "net/address.h"
#include "net/error.h"
#include "net/fd.h"
#include "net/loop.h"

namespace mirrord::agent {

// Where a connection goes on to.
struct Upstream {
  Redirector& redirector;
  net::Endpoint destination;
  // Makes what is connected a plain socket again, where the client's connection was not one. Optional.
  std::function<Result<Fd>(Fd)> secure;
};

// One attempt. First the address that the peer wanted, since a program may listen on that alone;
// if nobody is there, the loopback address of the same family and port. Destroying it gives up.
class UpstreamConnect {
 public:
  using Done = std::move_only_function<void(Result<Fd>)>;
  static constexpr std::chrono::milliseconds kTimeout{10'000};

  UpstreamConnect(net::Loop& loop, Upstream upstream)
      : loop_(loop), upstream_(std::move(upstream)), destination_(upstream_.destination) {}
  UpstreamConnect(const UpstreamConnect&) = delete;
  UpstreamConnect& operator=(const UpstreamConnect&) = delete;

  // The outcome if there is one already; else `done` gets it later, and may destroy this object.
  std::optional<Result<Fd>> start(Done done);

 private:
  std::optional<Result<Fd>> attempt(const net::Endpoint& to);
  std::optional<Result<Fd>> failed(int error_number);
  void ready();
  Result<Fd> connected();
  void finish(Result<Fd> outcome);

  net::Loop& loop_;
  const Upstream upstream_;
  net::Endpoint destination_;
  net::Endpoint tried_;
  Done done_;
  Fd socket_;
  std::unique_ptr<net::FdWatcher> watcher_;
  std::unique_ptr<net::Timer> deadline_;
};

}  // namespace mirrord::agent
