// applets/agent/redirect/claimed.cpp — claims ports by their names.
#include "applets/agent/redirect/claimed.h"

#include <cerrno>
#include <chrono>
#include <map>
#include <string>
#include <utility>

#include "applets/agent/redirect/netns_name.h"

namespace mirrord::agent {
namespace {

constexpr std::chrono::milliseconds kRetry{100};
constexpr int kAttempts = 30;

class Claimed final : public Redirector {
 public:
  Claimed(net::Loop& loop, std::unique_ptr<Redirector> inner)
      : loop_(loop), inner_(std::move(inner)) {}

  void add_port(std::uint16_t port, Done done) override { attempt(port, std::move(done), 0); }

  void remove_port(std::uint16_t port, Done done) override {
    inner_->remove_port(port, [this, port, done = std::move(done)](Status status) mutable {
      claims_.erase(port);
      done(std::move(status));
    });
  }

  Status exempt(int socket, const sockaddr_storage& destination) override {
    return inner_->exempt(socket, destination);
  }
  [[nodiscard]] std::string_view name() const override { return inner_->name(); }

 private:
  struct Claim {
    Fd socket;
    std::unique_ptr<net::Timer> retry;
  };

  void attempt(std::uint16_t port, Done done, int count) {
    Claim& own = claims_[port];
    auto socket = hold_name("mirrord-agent-port-" + std::to_string(port));
    if (socket) {
      own.socket = std::move(*socket);
      return inner_->add_port(port, [this, port, done = std::move(done)](Status status) mutable {
        if (!status)
          claims_.erase(port);
        done(std::move(status));
      });
    }
    if (!own.retry)
      own.retry = std::make_unique<net::Timer>(loop_);
    if (socket.error().sys == EADDRINUSE && count < kAttempts) {
      return own.retry->start(kRetry, [this, port, count, done = std::move(done)]() mutable {
        attempt(port, std::move(done), count + 1);
      });
    }
    own.retry->start(
        {}, [this, port, error = std::move(socket.error()), done = std::move(done)]() mutable {
          if (error.sys == EADDRINUSE) {
            error = {ErrorCode::kUnsupported,
                     "another mirrord session takes the connections to this port",
                     "End that session, or wait until it has ended.", 0};
          }
          const auto kept = claims_.extract(port);  // its timer is running this
          done(std::unexpected(std::move(error)));
        });
  }

  net::Loop& loop_;
  std::map<std::uint16_t, Claim> claims_;
  std::unique_ptr<Redirector>
      inner_;  // goes first: what it has in the kernel is covered by the claims
};

}  // namespace

std::unique_ptr<Redirector> with_claims(net::Loop& loop, std::unique_ptr<Redirector> inner) {
  return std::make_unique<Claimed>(loop, std::move(inner));
}

}  // namespace mirrord::agent
