// applets/intproxy/reverse_forwarder.cpp — subscriptions, and a local connection for each that arrives.
#include "applets/intproxy/reverse_forwarder.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <utility>

#include "applets/intproxy/address.h"
#include "applets/intproxy/subscription.h"
#include "proto/errors.h"

namespace mirrord::intproxy {
namespace {

using proto::DaemonTcp;
using Kind = AgentLink::Outgoing;

// A server whose queue is full does not answer: some 15 s, then the connection fails.
constexpr int kConnectAttempts = 3;

Result<Fd> connect_here(std::uint16_t port) {
  const net::Endpoint local{net::IpAddress::v4(127, 0, 0, 1), port};
  sockaddr_storage storage;
  const socklen_t length = local.to_sockaddr(storage);
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_SYNCNT, &kConnectAttempts, sizeof kConnectAttempts);
  int error = 0;
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) {
    error = errno;
  }
  if (error == EINPROGRESS) {  // on loopback a refusal is there by now
    socklen_t size = sizeof error;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  }
  if (error != 0) {
    return fail_system("connect to " + local.to_string(), error);
  }
  return socket;
}

}  // namespace

ReverseForwarder::ReverseForwarder(net::Loop& loop, AgentLink& link,
                                   const config::IncomingRules& rules, TlsTrust trust, Warn warn)
    : loop_(loop),
      link_(link),
      rules_(rules),
      warn_(std::move(warn)),
      limit_(loop),
      sender_(link),
      input_limit_(loop, link, [this] { return queued_bytes(); }),
      http_(loop, link, *this,
            {.warn = [this](const std::string& line) { warn_(line); },
             .queued_more = [this](std::size_t bytes) { queued_more(bytes); },
             .copy_lost = [this] { note_lost_copy(); }},
            std::move(trust)) {
  link_.set_handler<"TcpSteal">(
      [this](DaemonTcp&& message) { on_message(Kind::kStolen, std::move(message)); });
  link_.set_handler<"Tcp">(
      [this](DaemonTcp&& message) { on_message(Kind::kMirrored, std::move(message)); });
}

ReverseForwarder::~ReverseForwarder() {
  connections_.clear();  // they use the other tables
}

// ---- subscriptions

void ReverseForwarder::start(Ports ports, Done done) {
  ports_ = std::move(ports);
  done_ = std::move(done);
  limit_.start(kLimit, [this] {
    settle(
        fail(ErrorCode::kTimeout, "subscribe ports of the target: the agent has not answered for " +
                                      std::to_string(kLimit.count()) + " ms"));
  });
  subscribe_all();
}

void ReverseForwarder::subscribe_all() {
  for (const auto& [remote, local] : ports_) {
    const proto::HttpFilter* filter = filter_for(rules_, remote);
    if (filter != nullptr && !knows_filter(link_, *filter)) {
      return settle(fail(ErrorCode::kUnsupported,
                         "take port " + std::to_string(remote) +
                             " of the target: the agent is too old for this kind of HTTP filter"));
    }
    if (filter != nullptr && rules_.mode == config::IncomingMode::kMirror &&
        !link_.supports(proto::Gate::kMirrorHttpFilter)) {
      warn_("the agent is too old to mirror by an HTTP filter: port " + std::to_string(remote) +
            " is mirrored whole");
    }
    asked_.push_back(remote);
    sender_.send(subscribe_message(rules_, link_, remote));
  }
}

void ReverseForwarder::on_subscribed(const proto::Res<proto::Port>& answer) {
  const auto port = take_answered(asked_, answer);
  if (!port) {
    return;
  }
  if (!answer) {
    const bool steals = rules_.mode == config::IncomingMode::kSteal;
    settle(fail(ErrorCode::kUnsupported,
                (steals ? "steal" : "mirror") + std::string(" port ") + std::to_string(*port) +
                    " of the target" + (filter_for(rules_, *port) ? " by `http_filter`" : "") +
                    ": " + proto::describe(answer.error())));
  } else if (asked_.empty()) {
    settle({});
  }
}

void ReverseForwarder::settle(Status outcome) {
  limit_.stop();
  if (done_) {
    std::exchange(done_, nullptr)(std::move(outcome));
  } else if (!outcome) {
    warn_(outcome.error().what);
  }
}

void ReverseForwarder::agent_interrupted() {
  asked_.clear();
  std::vector<std::uint64_t> ids;
  for (const auto& [id, connection] : connections_) {
    ids.push_back(id);
  }
  for (const std::uint64_t id : ids) {
    if (const auto found = connections_.find(id); found != connections_.end()) {
      found->second->agent_was_interrupted();
    }
  }
  by_agent_id_.clear();
  http_.drop_all();
}

void ReverseForwarder::agent_restored() {
  subscribe_all();
}

// ---- connections

void ReverseForwarder::on_message(Kind kind, DaemonTcp&& message) {
  if (http_.take(kind, message)) {
    return;
  }
  switch (message.index()) {
    case DaemonTcp::index_of<"NewConnectionV1">:
      return open(kind, message.get<"NewConnectionV1">(),
                  proto::IncomingTrafficTransportType::make<"Tcp">());
    case DaemonTcp::index_of<"NewConnectionV2">:
      return open(kind, message.get<"NewConnectionV2">().connection,
                  message.get<"NewConnectionV2">().transport);
    case DaemonTcp::index_of<"Data">: {
      auto& data = message.get<"Data">();
      OutgoingEntry* entry = find(data.connection_id);
      if (entry == nullptr) {
        return;
      }
      entry->data_came(std::move(data.bytes));
      entry = kind == Kind::kMirrored ? find(data.connection_id) : nullptr;
      if (entry != nullptr && entry->queued_bytes() > kMirrorCap) {
        note_lost_copy();
        erase(*entry);
      }
      return;
    }
    case DaemonTcp::index_of<"Close">: {
      const proto::ConnectionId id = message.get<"Close">().connection_id;
      if (OutgoingEntry* entry = find(proto::without_hint(id))) {
        entry->take_close(proto::hint_of(id));
      }
      return;
    }
    case DaemonTcp::index_of<"SubscribeResult">:
      return on_subscribed(message.get<"SubscribeResult">());
    default:
      return;  // requests: taken above
  }
}

void ReverseForwarder::open(Kind kind, const proto::NewTcpConnectionV1& connection,
                            const proto::IncomingTrafficTransportType& transport) {
  const auto port = ports_.find(connection.destination_port);
  if (port == ports_.end()) {
    sender_.send(turn_away_message(kind, connection.connection_id));
    return;
  }
  auto socket = connect_here(port->second);
  if (socket) {
    socket = http_.tls().wrap(std::move(*socket), http_.tls().way(transport, {}));
  }
  if (!socket) {
    warn_("a connection to port " + std::to_string(port->first) +
          " of the target: " + socket.error().what);
    sender_.send(turn_away_message(kind, connection.connection_id));
    return;
  }
  const std::uint64_t id = next_id_++;
  const proto::Ip& ip = connection.remote_address;
  const net::Endpoint peer{{ip.is_v6, ip.octets}, connection.source_port};
  auto stream = std::make_unique<OutgoingStream>(*this, id, kind, *to_wire(to_local(peer)));
  OutgoingStream& opened = *stream;
  connections_.emplace(id, std::move(stream));
  opened.opened_by_agent(connection.connection_id);
  opened.accept(std::move(*socket));
}

void ReverseForwarder::note_lost_copy() {
  warn_("mirrored traffic is read too slowly: a copy of a connection is cut off");
}

std::vector<HttpListeners::Listener> ReverseForwarder::listeners(std::uint16_t port,
                                                                 const net::IpAddress& /*local*/,
                                                                 const net::IpAddress& /*remote*/) {
  const auto found = ports_.find(port);
  if (found == ports_.end()) {
    return {};
  }
  const net::Endpoint here{net::IpAddress::v4(127, 0, 0, 1), found->second};
  return {{port, here, here}};
}

Result<Fd> ReverseForwarder::connect(const Listener& listener, const net::Endpoint& /*remote*/,
                                     const net::IpAddress& /*local*/) {
  return connect_here(listener.address.port);
}

OutgoingEntry* ReverseForwarder::find(proto::ConnectionId id) {
  const auto found = by_agent_id_.find(id);
  return found == by_agent_id_.end() ? nullptr : found->second;
}

void ReverseForwarder::bind_agent_id(OutgoingEntry& entry, proto::ConnectionId agent_id) {
  by_agent_id_[agent_id] = &entry;
}

void ReverseForwarder::unbind_agent_id(OutgoingEntry& entry, proto::ConnectionId agent_id) {
  const auto found = by_agent_id_.find(agent_id);
  if (found != by_agent_id_.end() && found->second == &entry) {
    by_agent_id_.erase(found);
  }
}

void ReverseForwarder::erase(OutgoingEntry& entry) {
  // Out of the table first: the destructor speaks to the agent.
  [[maybe_unused]] const auto node = connections_.extract(entry.id());
}

std::size_t ReverseForwarder::queued_bytes() const {
  std::size_t total = http_.queued_bytes();
  for (const auto& [id, connection] : connections_) {
    total += connection->queued_bytes();
  }
  return total;
}

}  // namespace mirrord::intproxy
