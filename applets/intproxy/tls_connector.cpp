// applets/intproxy/tls_connector.cpp — the TLS server of an agent's streams.
#include "applets/intproxy/tls_connector.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "net/tls.h"

namespace mirrord::intproxy {
namespace {

using std::chrono::milliseconds;

class TlsConnector final : public AgentConnector {
 public:
  TlsConnector(net::Loop& loop, std::unique_ptr<AgentConnector> inner,
               std::shared_ptr<net::TlsContext> context)
      : loop_(loop), inner_(std::move(inner)), context_(std::move(context)) {}

  void reopen(milliseconds limit, Done done) override {
    pump_.reset();
    done_ = std::move(done);
    const std::uint64_t deadline_ms = loop_.now_ms() + static_cast<std::uint64_t>(limit.count());
    inner_->reopen(limit, [this, deadline_ms](Result<ReopenedStream> stream) {
      if (!stream) {
        std::exchange(done_, nullptr)(std::move(stream));
        return;
      }
      begin(std::move(*stream), deadline_ms);
    });
  }
  void accepted() override { inner_->accepted(); }
  void set_events(Events events) override { inner_->set_events(std::move(events)); }
  milliseconds reopen_limit() const override { return inner_->reopen_limit(); }
  bool replaces_agents() const override { return inner_->replaces_agents(); }

  void finish(milliseconds limit) override {
    if (pump_ && !pump_has_ended_) {
      is_finishing_ = true;
      pump_->finish(limit);
      while (!pump_has_ended_) {
        loop_.run();
      }
    }
    inner_->finish(limit);
  }

 private:
  void begin(ReopenedStream stream, std::uint64_t deadline_ms) {
    const std::uint64_t now_ms = loop_.now_ms();
    const milliseconds left(deadline_ms > now_ms ? deadline_ms - now_ms : 1);
    stream_ = std::move(stream);
    pump_has_ended_ = false;
    pump_ = std::make_unique<net::TlsPump>(loop_, context_, std::move(stream_.socket),
                                           stream_.peer_name);
    net::TlsPump::Handlers handlers;
    handlers.ready = [this](std::string_view) {
      std::exchange(done_, nullptr)(std::move(stream_));
    };
    handlers.ended = [this](std::optional<Error> why) { ended(std::move(why)); };
    auto plain = pump_->start(std::move(handlers), std::min(left, net::TlsPump::kHandshakeTimeout));
    if (!plain) {
      std::exchange(done_, nullptr)(std::unexpected(std::move(plain.error())));
      return;
    }
    stream_.socket = std::move(*plain);
  }

  // After the handshake the session learns it from the end of its stream.
  void ended(std::optional<Error> why) {
    pump_has_ended_ = true;
    if (is_finishing_) {
      loop_.stop();
      return;
    }
    if (done_) {
      Error error = why ? std::move(*why)
                        : Error{ErrorCode::kDisconnected, "begin TLS: the connection ended", {}, 0};
      if (error.hint.empty()) {
        error.hint = "The agent must have been given the certificate of this session.";
      }
      // Tried again for a while: a pod that is being replaced ends connections too.
      error.code = ErrorCode::kDisconnected;
      std::exchange(done_, nullptr)(std::unexpected(std::move(error)));
    }
  }

  net::Loop& loop_;
  std::unique_ptr<AgentConnector> inner_;
  std::shared_ptr<net::TlsContext> context_;
  Done done_;
  ReopenedStream stream_;
  bool pump_has_ended_ = true;
  bool is_finishing_ = false;
  std::unique_ptr<net::TlsPump> pump_;
};

}  // namespace

Result<std::unique_ptr<AgentConnector>> make_tls_connector(net::Loop& loop,
                                                           std::unique_ptr<AgentConnector> inner,
                                                           const net::TlsIdentity& identity) {
  MIRRORD_TRY(context, net::TlsContext::make({.role = net::TlsRole::kServer,
                                              .certificate = identity.certificate,
                                              .key = identity.key}));
  return std::make_unique<TlsConnector>(loop, std::move(inner), std::move(context));
}

}  // namespace mirrord::intproxy
