// k8s/port_forward.cpp — finds the protocol that the server speaks and hands the connection to a
// relay.
#include "k8s/port_forward.h"

#include <sys/socket.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "k8s/tunnel_relay.h"
#include "k8s/websocket.h"

namespace mirrord::k8s {
namespace {

// In the order in which they are tried.
enum class Way { kChannels };
constexpr Way kLastWay = Way::kChannels;

const char* verb_of(Way) {
  return "get";
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
  Error explain(const Refusal& refusal) const;
  void begin_relay(Tunnel tunnel);
  void end(Error why);

  ApiClient& client;
  PodPort target;
  Options options;
  Handlers handlers;
  Fd local;  // our end, until the relay has it
  std::string websocket_key;
  std::optional<Refusal> first_refusal;
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
  request.path = "/api/v1/namespaces/" + escape(target.name_space) + "/pods/" + escape(target.pod) +
                 "/portforward?ports=" + std::to_string(target.port);
  websocket_key = make_websocket_key();
  request.headers = {"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                     "Sec-WebSocket-Key: " + websocket_key,
                     "Sec-WebSocket-Protocol: " + std::string(ChannelTunnel::kProtocols)};
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

std::optional<Tunnel> PortForward::Impl::agreed(Way, const UpgradeAnswer& answer) const {
  const std::string_view protocol = answer.header("Sec-WebSocket-Protocol");
  if (answer.header("Sec-WebSocket-Accept") != websocket_accept(websocket_key) ||
      protocol.empty() || ChannelTunnel::kProtocols.find(protocol) == std::string_view::npos) {
    return std::nullopt;
  }
  return Tunnel(ChannelTunnel(target.port));
}

void PortForward::Impl::refused(Way way, Refusal refusal) {
  const bool is_final = refusal.status == 401 || refusal.reason == "NotFound" || way == kLastWay;
  if (!first_refusal) {
    first_refusal = std::move(refusal);
  }
  if (is_final) {
    end(explain(*first_refusal));
    return;
  }
}

Error PortForward::Impl::explain(const Refusal& refusal) const {
  Error why{ErrorCode::kPeer, "forward " + describe(target) + ": " + refusal.message, {}, 0};
  if (refusal.status == 403) {
    why.code = ErrorCode::kPermission;
    why.hint = "Allow the verbs \"get\" and \"create\" on \"pods/portforward\" in namespace " +
               target.name_space + "; the server missed \"" + verb_of(refusal.way) + "\".";
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
