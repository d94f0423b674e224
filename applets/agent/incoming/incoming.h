// applets/agent/incoming/incoming.h — traffic that reaches the target: who gets it.
//
// One per agent, shared by all clients. A port is redirected while anybody has subscribed to it. It
// has either one stealer without a filter, or any number with filters, of which the first to have
// subscribed has the first choice; and any number of mirrors.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "applets/agent/incoming/origin.h"
#include "applets/agent/incoming/pass_through.h"
#include "applets/agent/incoming/settings.h"
#include "applets/agent/incoming/tls_ports.h"
#include "applets/agent/redirect/established.h"
#include "applets/agent/redirect/redirector.h"
#include "applets/http_filter.h"
#include "net/http/message.h"
#include "net/http/server_connection.h"
#include "net/loop.h"
#include "proto/http.h"
#include "proto/receive_buffer.h"
#include "proto/response_error.h"

namespace mirrord::agent {

class HttpConnection;
class HttpDetection;
class IncomingClient;

enum class IncomingMode { kMirror, kSteal };

class Incoming {
 public:
  // Makes the redirector, when the first subscription needs it. `accepted` gets the connections.
  using MakeRedirector =
      std::function<Result<std::unique_ptr<Redirector>>(Redirector::Accepted accepted)>;
  // Ok when the redirect of the port is in force.
  using Subscribed = std::move_only_function<void(proto::Res<proto::Port>)>;

  // `tls`: null where the target's TLS is nobody's business.
  Incoming(net::Loop& loop, IncomingSettings settings, MakeRedirector make_redirector,
           std::unique_ptr<TlsPorts> tls = nullptr);
  ~Incoming();
  Incoming(const Incoming&) = delete;
  Incoming& operator=(const Incoming&) = delete;

  // A client has one subscription per port and mode: a new one takes the place of the old one.
  // `done` is called exactly once, never from inside the call.
  void subscribe(IncomingClient& client, IncomingMode mode, proto::Port port,
                 std::optional<proto::HttpFilter> filter, Subscribed done);
  void unsubscribe(IncomingClient& client, IncomingMode mode, proto::Port port);
  // The client is gone. Its `done`s are still called.
  void forget(IncomingClient& client);

  // Nothing new is taken, no client is left: HTTP connections end after the requests under way, others when they
  // want to. `done` is called when all have ended, or after `limit`, and never from inside the call.
  void finish(std::chrono::milliseconds limit, net::Callback done);

  [[nodiscard]] const IncomingSettings& settings() const { return settings_; }

  // ---- for HTTP requests

  // As far as it is known: nothing while it is still coming; inside that, nothing if it was too long or too slow.
  using Body = std::optional<std::span<const std::byte>>;
  struct Choice {
    bool needs_body = false;            // ask again with the body; nothing else is said
    IncomingClient* stealer = nullptr;  // none: the target answers
    std::vector<IncomingClient*> mirrors;
  };
  // Whose a request is, by the subscriptions of this moment.
  [[nodiscard]] Choice choose(proto::Port port, const net::http::RequestHead& head,
                              const std::optional<Body>& body) const;

 private:
  struct Subscription {
    IncomingClient* client;
    IncomingMode mode;
    std::optional<CompiledHttpFilter> filter;
  };
  struct Port {
    enum class Redirect { kOff, kStarting, kOn, kStopping } redirect = Redirect::kOff;
    std::vector<Subscription> subscriptions;  // oldest first
    std::vector<Subscribed> waiting;          // for kOn
    // Of before the redirect, until the first stealer; then they are cut.
    std::optional<EstablishedConnections> established;
  };

  bool has_conflict(const Port& port, const IncomingClient& client, bool is_filtered) const;
  void displace(Port& port, proto::Port number, const IncomingClient& client, bool is_filtered);
  void adjust(proto::Port number);
  void confirm(proto::Port number);
  void cut_established(proto::Port number, Port& port);
  void started(proto::Port number, const Status& status);
  void accepted(Redirected connection);
  [[nodiscard]] bool has_filters(proto::Port port) const;
  void decrypt(Fd socket, const Origin& origin);
  void sort(Fd socket, const Origin& origin);
  void detect(Fd socket, const Origin& origin);
  [[nodiscard]] Upstream upstream(const Origin& origin);
  void route(Fd socket, const Origin& origin, net::http::Protocol protocol);
  void serve(Fd socket, const Origin& origin, net::http::Protocol protocol,
             PassThrough::Copies copies);
  void check_finished();
  void pass_through(Fd socket, const Origin& origin, PassThrough::Copies copies);

  net::Loop& loop_;
  const IncomingSettings settings_;
  MakeRedirector make_redirector_;
  std::unique_ptr<Redirector> redirector_;
  std::map<proto::Port, Port> ports_;
  proto::ReceiveBuffer buffer_;
  std::uint64_t next_id_ = 0;
  std::unique_ptr<TlsPorts> tls_;  // before the connections that use its pumps
  std::unordered_map<std::uint64_t, std::unique_ptr<PassThrough>> passed_;
  std::unordered_map<std::uint64_t, std::unique_ptr<HttpDetection>> undetected_;
  std::unordered_map<std::uint64_t, std::unique_ptr<HttpConnection>> http_;
  net::Timer sweep_;  // of http_
  bool is_sweeping_ = false;
  net::Callback finished_;  // once finish() was called
  net::Timer last_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace mirrord::agent
