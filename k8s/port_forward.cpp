// k8s/port_forward.cpp — finds the protocol that the server speaks and hands the connection to a
// relay.
#include "k8s/port_forward.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "k8s/tunnel_relay.h"
#include "k8s/websocket.h"

namespace mirrord::k8s {
namespace {

// In the order in which they are tried. The first costs the servers least: nothing is translated on
// the way. The last is for servers, and proxies, that know no WebSocket.
enum class Way { kChannels, kTunnelledSpdy, kSpdy };

const char* method_of(Way way) {
  return way == Way::kSpdy ? "POST" : "GET";
}

// What RBAC asks for.
const char* verb_of(Way way) {
  return way == Way::kSpdy ? "create" : "get";
}

// What to try after a refusal. A missing verb is missing for both kinds of WebSocket.
std::optional<Way> next_way(Way way, int status) {
  if (way == Way::kSpdy) {
    return std::nullopt;
  }
  return way == Way::kChannels && status != 403 ? Way::kTunnelledSpdy : Way::kSpdy;
}

// What the server said instead of agreeing.
struct Refusal {
  Way way{};
  int status = 0;
  std::string reason;   // of the Status object: NotFound, Forbidden, …
  std::string message;  // the server's words
};

Refusal parse_refusal(Way way, const UpgradeAnswer& answer) {
  Refusal refusal{way, answer.status, {}, {}};
  if (const auto status = Json::parse(answer.body, "the answer")) {
    refusal.reason = (*status)["reason"].text();
    refusal.message = (*status)["message"].text();
  }
  if (refusal.message.empty()) {
    refusal.message = answer.body.substr(0, 500);
    while (!refusal.message.empty() && refusal.message.back() <= ' ') {
      refusal.message.pop_back();
    }
  }
  if (refusal.message.empty()) {
    refusal.message = "the server answered " + std::to_string(answer.status);
  }
  return refusal;
}

std::string describe(const PodPort& target) {
  return "port " + std::to_string(target.port) + " of pod " + target.name_space + "/" + target.pod;
}

}  // namespace

struct PortForward::Impl {
  Impl(ApiClient& api, PodPort pod_port, Options chosen)
      : client(api), target(std::move(pod_port)), options(chosen) {}
  ~Impl() { *alive = false; }

  void attempt(Way way);
  void answered(Way way, Result<UpgradeAnswer> answer);
  std::optional<Tunnel> agreed(Way way, const UpgradeAnswer& answer) const;
  void refused(Way way, Refusal refusal);
  Error explain() const;
  void begin_relay(Tunnel tunnel);
  void end(Error why);

  ApiClient& client;
  PodPort target;
  Options options;
  Handlers handlers;
  Fd local;  // our end, until the relay has it
  std::string websocket_key;
  std::vector<Refusal> refusals;
  std::unique_ptr<UpgradedLine> line;
  std::unique_ptr<TunnelRelay> relay;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
};

PortForward::PortForward(ApiClient& client, PodPort target, Options options)
    : impl_(std::make_unique<Impl>(client, std::move(target), options)) {}
PortForward::~PortForward() = default;

Result<Fd> PortForward::open(Handlers handlers) {
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    return fail_system("make a socket pair for the port-forward", errno);
  }
  impl_->local = Fd(ends[0]);
  Fd theirs(ends[1]);
  impl_->handlers = std::move(handlers);
  impl_->attempt(Way{});
  return theirs;
}

void PortForward::Impl::attempt(Way way) {
  UpgradeRequest request;
  request.method = method_of(way);
  request.path = "/api/v1/namespaces/" + escape(target.name_space) + "/pods/" + escape(target.pod) +
                 "/portforward?ports=" + std::to_string(target.port);
  request.headers = {"Connection: Upgrade"};
  const auto add = [&request](std::string_view name, std::string_view value) {
    request.headers.push_back(std::string(name) + ": " + std::string(value));
  };
  if (way == Way::kSpdy) {
    add("Upgrade", SpdyTunnel::kUpgrade);
    add("X-Stream-Protocol-Version", SpdyTunnel::kProtocol);
    add("Content-Length", "0");
  } else {
    websocket_key = make_websocket_key();
    add("Upgrade", "websocket");
    add("Sec-WebSocket-Version", "13");
    add("Sec-WebSocket-Key", websocket_key);
    add("Sec-WebSocket-Protocol",
        way == Way::kChannels ? ChannelTunnel::kProtocols : SpdyTunnel::kWebSocketProtocol);
  }
  line = std::make_unique<UpgradedLine>(client);
  line->start(std::move(request), options.connect_timeout,
              [this, way](Result<UpgradeAnswer> answer) { answered(way, std::move(answer)); });
}

void PortForward::Impl::answered(Way way, Result<UpgradeAnswer> answer) {
  if (!answer) {
    Error why = std::move(answer.error());
    why.what = "forward " + describe(target) + ": " + why.what;
    end(std::move(why));
    return;
  }
  if (answer->status != 101) {
    refused(way, parse_refusal(way, *answer));
    return;
  }
  auto tunnel = agreed(way, *answer);
  if (!tunnel) {
    refused(way, {way,
                  answer->status,
                  {},
                  "the server upgraded the connection to something that was not asked for"});
    return;
  }
  begin_relay(std::move(*tunnel));
}

std::optional<Tunnel> PortForward::Impl::agreed(Way way, const UpgradeAnswer& answer) const {
  if (way == Way::kSpdy) {
    if (answer.header("Upgrade") != SpdyTunnel::kUpgrade ||
        answer.header("X-Stream-Protocol-Version") != SpdyTunnel::kProtocol) {
      return std::nullopt;
    }
    return Tunnel(SpdyTunnel(SpdyTunnel::Carrier::kConnection, target.port));
  }
  const std::string_view protocol = answer.header("Sec-WebSocket-Protocol");
  if (protocol.empty() ||
      answer.header("Sec-WebSocket-Accept") != websocket_accept(websocket_key)) {
    return std::nullopt;
  }
  if (way == Way::kTunnelledSpdy && protocol == SpdyTunnel::kWebSocketProtocol) {
    return Tunnel(SpdyTunnel(SpdyTunnel::Carrier::kWebSocket, target.port));
  }
  if (way == Way::kChannels && ChannelTunnel::kProtocols.find(protocol) != std::string_view::npos) {
    return Tunnel(ChannelTunnel(target.port));
  }
  return std::nullopt;
}

void PortForward::Impl::refused(Way way, Refusal refusal) {
  const int status = refusal.status;
  const bool is_final = status == 401 || refusal.reason == "NotFound";
  refusals.push_back(std::move(refusal));
  const std::optional<Way> next = is_final ? std::nullopt : next_way(way, status);
  if (next) {
    attempt(*next);
  } else {
    end(explain());
  }
}

// Of several refusals the most telling one.
Error PortForward::Impl::explain() const {
  const auto is_forbidden = [](const Refusal& one) { return one.status == 403; };
  const auto forbidden = std::ranges::find_if(refusals, is_forbidden);
  const Refusal& refusal = forbidden != refusals.end() ? *forbidden : refusals.front();
  Error why{ErrorCode::kPeer, "forward " + describe(target) + ": " + refusal.message, {}, 0};
  if (refusal.status == 403) {
    why.code = ErrorCode::kPermission;
    why.hint = "Allow the verbs \"get\" and \"create\" on \"pods/portforward\" in namespace " +
               target.name_space + "; refused:";
    for (const Refusal& one : refusals) {
      if (is_forbidden(one)) {
        why.hint += std::string(" ") + verb_of(one.way);
      }
    }
    why.hint += ".";
  } else if (refusal.status == 401) {
    why.code = ErrorCode::kPermission;
    why.hint = "Log in to the cluster again: the credentials of context " +
               client.config().context + " are not accepted.";
  } else if (refusal.status == 404) {
    why.code = ErrorCode::kNotFound;
    why.hint = "The pod is gone; start again to get a new one.";
  }
  return why;
}

void PortForward::Impl::begin_relay(Tunnel tunnel) {
  relay = std::make_unique<TunnelRelay>(
      client.loop(), std::move(line), std::move(tunnel), std::move(local),
      TunnelRelay::Options{describe(target), options.connect_timeout, options.ping_interval});
  TunnelRelay::Handlers relayed;
  relayed.opened = [this] {
    if (handlers.opened) {
      handlers.opened();
    }
  };
  relayed.ended = [this](Error why) { end(std::move(why)); };
  relay->start(std::move(relayed));
}

void PortForward::Impl::end(Error why) {
  local.reset();
  auto ended = std::move(handlers.ended);
  if (ended) {
    ended(std::move(why));
  }
}

}  // namespace mirrord::k8s
