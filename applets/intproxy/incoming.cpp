// applets/intproxy/incoming.cpp — sources, subscriptions and connections of incoming traffic.
#include "applets/intproxy/incoming.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ranges>
#include <utility>

#include "applets/intproxy/address.h"
#include "applets/intproxy/listening_sockets.h"
#include "applets/intproxy/remote.h"
#include "applets/intproxy/subscription.h"
#include "proto/errors.h"

namespace mirrord::intproxy {
namespace {

using proto::DaemonTcp;
using Kind = AgentLink::Outgoing;

// After a hint the kernel is asked again and again, ever more seldom: what still listens may be
// in the hands of a program without the hook.
constexpr std::chrono::milliseconds kFirstCheck{2};
constexpr std::chrono::milliseconds kLastCheck{5000};
constexpr std::chrono::milliseconds kTickPeriod{2000};
// A program that listens and accepts nothing: its queue is full, and the connect waits.
constexpr std::uint64_t kConnectLimitMs = 10'000;

net::IpAddress from_wire(const proto::Ip& ip) {
  return {ip.is_v6, ip.octets};
}

std::size_t table_of(Kind kind) {
  return kind == Kind::kStolen ? 0 : 1;
}

// What listen() fails with; the original's layer gives the same.
int listen_errno(const proto::ResponseError& error) {
  if (error.is<"PortAlreadyStolen">()) {
    return EINVAL;
  }
  if (error.is<"Forbidden">() || error.is<"ForbiddenWithReason">()) {
    return EACCES;
  }
  return errno_of(error);
}

}  // namespace

Incoming::Incoming(Session& session)
    : session_(session),
      rules_(session.options().incoming),
      sender_(session.agent()),
      check_timer_(session.loop()),
      tick_timer_(session.loop()),
      input_limit_(session.loop(), session.agent(), [this] { return queued_bytes(); }),
      http_(session.loop(), session.agent(), *this,
            {.warn =
                 [this](const std::string& line) {
                   session_.log().warn(log::Component::kIncoming, line);
                 },
             .queued_more = [this](std::size_t bytes) { queued_more(bytes); },
             .copy_lost = [this] { note_lost_copy(); }},
            session.options().tls_trust) {
  const local::Settings* settings = session.settings();
  if (settings == nullptr || (settings->flags & local::kIncoming) == 0) {
    return;
  }
  const auto& source = settings->incoming_source;
  auto table = IncomingTable::create(session.options().directory,
                                     net::IpAddress::v4(source[0], source[1], source[2], source[3]),
                                     session.options().serves_container);
  if (!table) {
    session_.log().error(log::Component::kIncoming, table.error().what);
    return;
  }
  table_ = std::move(*table);
  session_.handle(local::MessageType::kListen, [this](Process&, Request&& request, Call call) {
    on_listen(request, std::move(call));
  });
  session_.handle(local::MessageType::kListenerClosed,
                  [this](Process&, Request&&, Call) { check_soon(); });
  session_.handle(local::MessageType::kCheckListeners, [this](Process&, Request&&, Call call) {
    check_listeners();
    call.succeed();
  });
  agent().set_handler<"TcpSteal">(
      [this](DaemonTcp&& message) { on_message(Kind::kStolen, std::move(message)); });
  agent().set_handler<"Tcp">(
      [this](DaemonTcp&& message) { on_message(Kind::kMirrored, std::move(message)); });
}

Incoming::~Incoming() {
  for_all([](Connection& connection) { connection.stream.reset(); });
}

// Every connection there is now; the action may erase them.
template <class Action>
void Incoming::for_all(Action action) {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, connection] : connections_) {
    ids.push_back(id);
  }
  for (const std::uint64_t id : ids) {
    if (const auto found = connections_.find(id); found != connections_.end()) {
      action(found->second);
    }
  }
}

// ---- listeners

std::uint16_t Incoming::remote_port(std::uint16_t port) const {
  const auto pair = std::ranges::find(rules_.port_mapping, port, &config::PortPair::program);
  return pair == rules_.port_mapping.end() ? port : pair->other;
}

void Incoming::on_listen(const Request& request, Call call) {
  const auto wanted = request.fixed<local::ListenRequest>();
  const auto requested = wanted ? endpoint_of(wanted->requested) : std::nullopt;
  const auto actual = wanted ? endpoint_of(wanted->actual) : std::nullopt;
  if (!requested || !actual || requested->port == 0) {
    call.fail(EINVAL);
    return;
  }
  if (agent().is_lost()) {
    call.fail(EIO);
    return;
  }
  const std::uint16_t number = remote_port(requested->port);
  Port& port = ports_[number];
  port.sources.push_back(
      {wanted->inode, *requested, *actual, table_->add_listener(*requested, *actual)});
  if (port.state == Port::State::kActive) {
    call.succeed();
    return;
  }
  port.waiting.push_back(std::move(call));
  port.limit = std::make_unique<net::Timer>(loop());
  port.limit->start(kListenLimit,
                    [this, number] { refuse(number, ETIMEDOUT, "the agent does not answer"); });
  if (port.state == Port::State::kIdle) {
    subscribe(number, port);
  }
}

void Incoming::process_ended(Process&) {
  check_soon();
}

void Incoming::check_soon() {
  if (!ports_.empty()) {
    check_delay_ = kFirstCheck;
    check_timer_.start(std::chrono::milliseconds(0), [this] { check_listeners(); });
  }
}

void Incoming::check_listeners() {
  const auto listening = listening_sockets();
  if (!listening) {
    session_.log().warn(log::Component::kIncoming, listening.error().what);
    return;
  }
  std::vector<std::uint16_t> left;
  for (auto& [number, port] : ports_) {
    std::erase_if(port.sources, [&](const Source& source) {
      const bool is_gone = !listening->contains(source.inode);
      if (is_gone) {
        table_->remove_listener(source.table_index);
      }
      return is_gone;
    });
    if (port.sources.empty() && port.state != Port::State::kAsking) {
      left.push_back(number);
    }
  }
  for (const std::uint16_t number : left) {
    unsubscribe(number);
  }
  if (!ports_.empty()) {
    check_timer_.start(check_delay_, [this] { check_listeners(); });
    check_delay_ = std::min(check_delay_ * 2, kLastCheck);
  }
}

// ---- subscriptions

void Incoming::subscribe(std::uint16_t number, Port& port) {
  if (!agent().is_ready()) {
    return;  // when it is back
  }
  const proto::HttpFilter* filter = filter_for(rules_, number);
  if (filter != nullptr && !knows_filter(agent(), *filter)) {
    refuse(number, EOPNOTSUPP, "the agent is too old for this kind of HTTP filter");
    return;
  }
  const bool mirrors = rules_.mode == config::IncomingMode::kMirror;
  if (mirrors && filter != nullptr && !agent().supports(proto::Gate::kMirrorHttpFilter)) {
    session_.tell_user("the agent is too old to mirror by an HTTP filter: port " +
                       std::to_string(number) + " is mirrored whole");
  }
  port.state = Port::State::kAsking;
  asked_.push_back(number);
  sender_.send(subscribe_message(rules_, agent(), number));
}

void Incoming::unsubscribe(std::uint16_t number) {
  const auto found = ports_.find(number);
  if (found == ports_.end()) {
    return;
  }
  if (found->second.state == Port::State::kActive && agent().is_ready()) {
    session_.log().info(log::Component::kIncoming,
                        "port " + std::to_string(number) + " of the target is left alone again");
    sender_.send(unsubscribe_message(rules_, number));
  }
  remove_sources(found->second);
  ports_.erase(found);
}

void Incoming::remove_sources(Port& port) {
  for (const Source& source : std::exchange(port.sources, {})) {
    table_->remove_listener(source.table_index);
  }
}

void Incoming::on_subscribed(proto::Res<proto::Port>&& result) {
  const auto answered = take_answered(asked_, result);
  const auto found = answered ? ports_.find(*answered) : ports_.end();
  if (found == ports_.end()) {
    return;
  }
  const std::uint16_t number = found->first;
  Port& port = found->second;
  if (!result) {
    port.state = Port::State::kIdle;
    const std::string reason = session_.take_agent_error();
    refuse(number, listen_errno(result.error()),
           proto::describe(result.error()) + (reason.empty() ? "" : " (" + reason + ")"));
    return;
  }
  port.state = Port::State::kActive;
  port.limit.reset();
  session_.log().info(log::Component::kIncoming, "subscribed port " + std::to_string(number));
  for (Call& call : std::exchange(port.waiting, {})) {
    call.succeed();
  }
  if (port.sources.empty()) {  // closed meanwhile
    unsubscribe(number);
  }
}

// The port's traffic cannot be had. Who has not asked for incoming traffic keeps a local listener.
void Incoming::refuse(std::uint16_t number, int error_number, const std::string& why) {
  const auto found = ports_.find(number);
  if (found == ports_.end()) {
    return;
  }
  std::vector<Call> waiting = std::exchange(found->second.waiting, {});
  const bool steals = rules_.mode == config::IncomingMode::kSteal;
  const std::string line = "port " + std::to_string(number) + " of the target cannot be " +
                           (steals ? "stolen" : "mirrored") +
                           (filter_for(rules_, number) ? " by `http_filter`: " : ": ") + why;
  if (found->second.state == Port::State::kAsking) {
    found->second.state = Port::State::kActive;  // take it back, should it still be granted
  }
  unsubscribe(number);
  if (rules_.is_explicit) {
    session_.tell_user(line);
  } else {
    session_.log().warn(log::Component::kIncoming,
                        line + "; the program listens on this machine only");
  }
  for (Call& call : waiting) {
    rules_.is_explicit ? call.fail(error_number) : call.succeed();
  }
}

// ---- the agent

void Incoming::agent_lost(const Error& /*why*/) {
  for (auto& [number, port] : ports_) {
    port.limit.reset();
    for (Call& call : std::exchange(port.waiting, {})) {
      call.fail(EIO);
    }
  }
  for_all([](Connection& connection) { connection.stream->agent_was_lost(); });
  http_.drop_all();
}

void Incoming::agent_interrupted(Losses& losses) {
  asked_.clear();
  for (auto& [number, port] : ports_) {
    port.state = Port::State::kIdle;
  }
  for_all([&](Connection& connection) {
    const bool counts = connection.stream->kind() == Kind::kStolen;
    if (connection.stream->agent_was_interrupted() && counts) {
      ++losses.connections;
    }
  });
  losses.connections += http_.drop_all();
  for (auto& ids : by_agent_id_) {
    ids.clear();
  }
}

void Incoming::agent_restored(const AgentLink::Restored& /*restored*/, Losses& /*losses*/) {
  std::vector<std::uint16_t> numbers;
  for (const auto& [number, port] : ports_) {
    numbers.push_back(number);
  }
  for (const std::uint16_t number : numbers) {
    if (const auto found = ports_.find(number); found != ports_.end()) {
      subscribe(number, found->second);
    }
  }
}

// ---- connections

void Incoming::on_message(Kind kind, DaemonTcp&& message) {
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
      if (OutgoingEntry* entry = find(kind, data.connection_id)) {
        entry->data_came(std::move(data.bytes));
        entry = kind == Kind::kMirrored ? find(kind, data.connection_id) : nullptr;
        if (entry != nullptr && entry->queued_bytes() > kMirrorCap) {
          note_lost_copy();
          erase(*entry);
        }
      }
      return;
    }
    case DaemonTcp::index_of<"Close">: {
      const proto::ConnectionId id = message.get<"Close">().connection_id;
      if (OutgoingEntry* entry = find(kind, proto::without_hint(id))) {
        entry->take_close(proto::hint_of(id));
      }
      return;
    }
    case DaemonTcp::index_of<"SubscribeResult">:
      return on_subscribed(std::move(message.get<"SubscribeResult">()));
    default:
      return;  // requests: taken above
  }
}

// The sources of a port, the one to try first in front: bound to the very address that was connected
// to, or of the peer's family, before others; newer ones before older ones.
std::vector<const Incoming::Source*> Incoming::candidates(std::uint16_t port,
                                                          const net::IpAddress& local,
                                                          const net::IpAddress& remote) const {
  std::vector<const Source*> sources;
  const auto found = ports_.find(port);
  if (found == ports_.end()) {
    return sources;
  }
  for (const Source& source : std::views::reverse(found->second.sources)) {
    sources.push_back(&source);
  }
  const auto rank = [&](const Source* source) {
    return source->requested.ip == local ? 0 : source->requested.ip.is_v6 == remote.is_v6 ? 1 : 2;
  };
  std::ranges::stable_sort(sources, {}, rank);
  return sources;
}

void Incoming::open(Kind kind, const proto::NewTcpConnectionV1& connection,
                    const proto::IncomingTrafficTransportType& transport) {
  const net::IpAddress local = from_wire(connection.local_address);
  const net::IpAddress remote = from_wire(connection.remote_address);
  Fd socket;
  for (const Source* source : candidates(connection.destination_port, local, remote)) {
    const IncomingOrigin origin{{remote, connection.source_port}, {local, source->requested.port}};
    auto connected = table_->connect(source->actual, origin);
    if (connected) {
      connected = http_.tls().wrap(std::move(*connected), http_.tls().way(transport, {}));
    }
    if (connected) {
      socket = std::move(*connected);
      break;
    }
    session_.log().warn(log::Component::kIncoming, connected.error().what);
    check_soon();
  }
  if (!socket.is_open()) {
    sender_.send(turn_away_message(kind, connection.connection_id));
    return;
  }
  const std::uint64_t id = next_id_++;
  const net::Endpoint peer{remote, connection.source_port};
  auto stream = std::make_unique<OutgoingStream>(*this, id, kind, *to_wire(to_local(peer)));
  OutgoingStream& opened = *stream;
  const int fd = socket.get();
  connections_.emplace(id, Connection{std::move(stream), fd, loop().now_ms(), !is_connecting(fd)});
  if (!is_ticking_) {
    is_ticking_ = true;
    tick_timer_.start_repeating(kTickPeriod, [this] { tick(); });
  }
  opened.opened_by_agent(connection.connection_id);
  opened.accept(std::move(socket));
}

std::vector<HttpListeners::Listener> Incoming::listeners(std::uint16_t port,
                                                         const net::IpAddress& local,
                                                         const net::IpAddress& remote) {
  std::vector<Listener> result;
  for (const Source* source : candidates(port, local, remote)) {
    result.push_back({source->inode, source->actual, source->requested});
  }
  return result;
}

Result<Fd> Incoming::connect(const Listener& listener, const net::Endpoint& remote,
                             const net::IpAddress& local) {
  auto connected = table_->connect(listener.address, {remote, {local, listener.requested.port}});
  if (!connected) {
    check_soon();
  }
  return connected;
}

void Incoming::note_lost_copy() {
  if (lost_copies_++ == 0) {
    session_.tell_user(
        "the program reads mirrored traffic too slowly: copies of connections are cut off (further "
        "ones are counted in the session's log)");
  } else {
    session_.log().warn(log::Component::kIncoming,
                        "mirrored connections cut off so far: " + std::to_string(lost_copies_));
  }
}

OutgoingEntry* Incoming::find(Kind kind, proto::ConnectionId id) {
  const auto& ids = by_agent_id_[table_of(kind)];
  const auto found = ids.find(id);
  return found == ids.end() ? nullptr : found->second;
}

void Incoming::bind_agent_id(OutgoingEntry& entry, proto::ConnectionId agent_id) {
  by_agent_id_[table_of(entry.kind())][agent_id] = &entry;
}

void Incoming::unbind_agent_id(OutgoingEntry& entry, proto::ConnectionId agent_id) {
  auto& ids = by_agent_id_[table_of(entry.kind())];
  if (const auto found = ids.find(agent_id); found != ids.end() && found->second == &entry) {
    ids.erase(found);
  }
}

void Incoming::erase(OutgoingEntry& entry) {
  // Out of the table first: the destructor speaks to the agent.
  const auto node = connections_.extract(entry.id());
  if (!node.empty()) {
    table_->forget(node.mapped().socket);
  }
}

void Incoming::tick() {
  const std::uint64_t now = loop().now_ms();
  for_all([&](Connection& connection) {
    if (!connection.is_connected) {
      connection.is_connected = !is_connecting(connection.socket);
      if (!connection.is_connected && now - connection.since_ms > kConnectLimitMs) {
        session_.log().warn(log::Component::kIncoming,
                            "the program does not accept: a connection to it was given up");
        erase(*connection.stream);
      }
    }
  });
  if (connections_.empty()) {
    is_ticking_ = false;
    tick_timer_.stop();
  }
}

std::size_t Incoming::queued_bytes() const {
  std::size_t total = http_.queued_bytes();
  for (const auto& [id, connection] : connections_) {
    total += connection.stream->queued_bytes();
  }
  return total;
}

}  // namespace mirrord::intproxy
