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

// One attempt. First the address that the peer wanted, since a program may listen on that alone;
// if nobody is there, the loopback address of the same family and port. Destroying it gives up.
class UpstreamConnect {
 public:
  using Done = std::move_only_function<void(Result<Fd>)>;
  static constexpr std::chrono::milliseconds kTimeout{10'000};

  UpstreamConnect(net::Loop& loop, Redirector& redirector, const net::Endpoint& destination)
      : loop_(loop), redirector_(redirector), destination_(destination) {}
  UpstreamConnect(const UpstreamConnect&) = delete;
  UpstreamConnect& operator=(const UpstreamConnect&) = delete;

  // The outcome if there is one already; else `done` gets it later, and may destroy this object.
  std::optional<Result<Fd>> start(Done done);

 private:
  std::optional<Result<Fd>> attempt(const net::Endpoint& to);
  std::optional<Result<Fd>> failed(int error_number);
  void ready();
  void finish(Result<Fd> outcome);

  net::Loop& loop_;
  Redirector& redirector_;
  net::Endpoint destination_;
  net::Endpoint tried_;
  Done done_;
  Fd socket_;
  std::unique_ptr<net::FdWatcher> watcher_;
  std::unique_ptr<net::Timer> deadline_;
};

}  // namespace mirrord::agent
