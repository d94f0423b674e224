// applets/intproxy/outgoing.cpp — requests, listeners and tables of outgoing connections.
#include "applets/intproxy/outgoing.h"

#include <sys/socket.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "applets/intproxy/address.h"
#include "applets/intproxy/outgoing_datagram.h"

namespace mirrord::intproxy {

namespace {

constexpr int kDefaultGraceMs = 50;
constexpr int kBacklog = 4096;
constexpr std::chrono::milliseconds kTickPeriod{5000};

bool is_complete(const local::ConnectRequest& request) {
  switch (request.transport) {
    case local::Transport::kStream:
    case local::Transport::kDatagram:
    case local::Transport::kSeqpacket:
      return to_wire(request.remote).has_value();
  }
  return false;
}

local::ConnectReply only_state(local::ConnectState state) {
  return {0, state, 0, local::Address{}, local::Address{}};
}

}  // namespace

Outgoing::Outgoing(Session& session, Dns& dns)
    : session_(session),
      filter_(session, dns),
      input_limit_(session.loop(), session.agent(), [this] { return queued_bytes(); }),
      tick_timer_(session.loop()) {
  listen(entrances_[0], net::IpAddress::v4(127, 0, 0, 1));
  listen(entrances_[1], net::IpAddress::v6_loopback());
  register_handlers();
}

Outgoing::~Outgoing() {
  entries_.clear();  // they use the other tables
}

void Outgoing::register_handlers() {
  using local::MessageType;
  session_.handle(MessageType::kConnect, [this](Process& process, Request&& request, Call call) {
    on_connect(process, request, std::move(call));
  });
  session_.handle(MessageType::kConnectOutcome, [this](Process&, Request&& request, Call call) {
    const auto wanted = request.fixed<local::ConnectionRequest>();
    const auto entry = wanted ? entries_.find(wanted->connection) : entries_.end();
    if (entry == entries_.end()) {
      call.fail(ENOTCONN);
    } else {
      entry->second->await_outcome(std::move(call), -1);
    }
  });
  session_.handle(MessageType::kReleaseSocket, [this](Process&, Request&& request, Call) {
    const auto wanted = request.fixed<local::ConnectionRequest>();
    const auto entry = wanted ? entries_.find(wanted->connection) : entries_.end();
    if (entry != entries_.end() && entry->second->kind() == AgentLink::Outgoing::kUdp) {
      static_cast<OutgoingDatagram&>(*entry->second).release_program_socket();
    }
  });
  session_.handle(MessageType::kListening, [this](Process& process, Request&& request, Call) {
    if (const auto listening = request.fixed<local::ListeningRequest>()) {
      filter_.set_listening(process.key, listening->port, listening->is_listening != 0);
    }
  });
  agent().set_handler<"TcpOutgoing">([this](proto::DaemonTcpOutgoing&& message) {
    dispatch(AgentLink::Outgoing::kTcp, std::move(message));
  });
  agent().set_handler<"UdpOutgoing">([this](proto::DaemonUdpOutgoing&& message) {
    dispatch(AgentLink::Outgoing::kUdp, std::move(message));
  });
  agent().set_handler<"SeqpacketOutgoing">([this](proto::DaemonSeqpacket&& message) {
    dispatch(AgentLink::Outgoing::kSeqpacket, std::move(message));
  });
}

// ---- requests of programs

void Outgoing::on_connect(Process& process, Request& request, Call call) {
  const auto wanted = request.fixed<local::ConnectRequest>();
  if (!wanted || !is_complete(*wanted)) {
    call.fail(EINVAL);
    return;
  }
  Fd socket = request.descriptors.empty() ? Fd() : std::move(request.descriptors.front());
  const auto remote = endpoint_of(wanted->remote);
  if (!remote) {
    open(*wanted, process.key, std::move(socket), std::move(call));
    return;
  }
  filter_.decide(wanted->transport, *remote,
                 [this, wanted = *wanted, key = process.key, socket = std::move(socket),
                  call = std::move(call)](bool is_local) mutable {
                   if (is_local) {
                     call.answer(only_state(local::ConnectState::kBypass));
                   } else if (wanted.local.family == 0) {
                     call.answer(only_state(local::ConnectState::kPending));
                   } else {
                     open(wanted, key, std::move(socket), std::move(call));
                   }
                 });
}

void Outgoing::open(const local::ConnectRequest& request, std::uint64_t process_key, Fd socket,
                    Call call) {
  if (agent().is_lost()) {
    call.fail(ECONNREFUSED);
  } else if (request.remote.family == AF_UNIX) {
    open_unix(request, std::move(call));
  } else if (request.transport == local::Transport::kStream) {
    open_tcp(request, std::move(call));
  } else if (request.transport == local::Transport::kDatagram) {
    open_udp(request, process_key, std::move(socket), std::move(call));
  } else {
    call.fail(EPROTONOSUPPORT);  // SCTP: the wire has no word for it
  }
}

void Outgoing::open_tcp(const local::ConnectRequest& request, Call call) {
  const auto program = endpoint_of(request.local);
  const Entrance& entrance = entrances_[request.remote.family == AF_INET6 ? 1 : 0];
  if (!program || !entrance.listener) {
    call.fail(program ? EADDRNOTAVAIL : EINVAL);
    return;
  }
  auto entry = std::make_unique<OutgoingStream>(*this, next_id_++, AgentLink::Outgoing::kTcp,
                                                *to_wire(request.remote));
  // An earlier promise to the same address was not kept: that socket is gone.
  if (const auto stale = expected_.find(*program); stale != expected_.end()) {
    erase(*stale->second);
  }
  expected_.emplace(*program, entry.get());
  expected_from_.emplace(entry->id(), *program);
  start(std::move(entry), entrance.address, request, std::move(call));
}

void Outgoing::open_unix(const local::ConnectRequest& request, Call call) {
  if (request.transport == local::Transport::kDatagram) {
    call.fail(EPROTOTYPE);
    return;
  }
  const auto kind = request.transport == local::Transport::kStream
                        ? AgentLink::Outgoing::kTcp
                        : AgentLink::Outgoing::kSeqpacket;
  const std::uint64_t id = next_id_++;
  auto entry = std::make_unique<OutgoingStream>(*this, id, kind, *to_wire(request.remote));
  const std::string path = session_.options().directory + "/relay-" + std::to_string(id);
  if (const Status listening = entry->listen_at(path); !listening) {
    session_.log().error(log::Component::kOutgoing, listening.error().what);
    call.fail(listening.error().sys);
    return;
  }
  const auto relay =
      to_local(proto::SocketAddress::make<"Unix">(proto::UnixAddr::make<"Pathname">(path)));
  start(std::move(entry), relay, request, std::move(call));
}

void Outgoing::open_udp(const local::ConnectRequest& request, std::uint64_t process_key, Fd socket,
                        Call call) {
  const auto program = endpoint_of(request.local);
  if (!program) {
    call.fail(EINVAL);
    return;
  }
  auto entry =
      std::make_unique<OutgoingDatagram>(*this, next_id_++, *to_wire(request.remote), process_key);
  entry->keep_program_socket(std::move(socket));
  const Result<net::Endpoint> relay = entry->open(*program);
  if (!relay) {
    session_.log().error(log::Component::kOutgoing, relay.error().what);
    call.fail(relay.error().sys);
    return;
  }
  start(std::move(entry), to_local(*relay), request, std::move(call));
}

void Outgoing::start(std::unique_ptr<OutgoingEntry> entry, const local::Address& relay,
                     const local::ConnectRequest& request, Call call) {
  OutgoingEntry& started = *entry;
  entries_.emplace(started.id(), std::move(entry));
  started.set_relay(relay);
  started.connect();
  started.await_outcome(std::move(call), grace_ms(request));
  if (!is_ticking_) {
    is_ticking_ = true;
    tick_timer_.start_repeating(kTickPeriod, [this] { tick(); });
  }
}

int Outgoing::grace_ms(const local::ConnectRequest& request) const {
  if (request.wait != 0) {
    return -1;
  }
  const local::Settings* settings = session_.settings();
  return settings == nullptr ? kDefaultGraceMs : static_cast<int>(settings->connect_grace_ms);
}

// ---- programs that come

void Outgoing::listen(Entrance& entrance, const net::IpAddress& address) {
  auto socket = net::listen_tcp({address, 0}, kBacklog);
  const auto endpoint = socket ? net::local_endpoint(socket->get()) : std::nullopt;
  if (!endpoint) {
    session_.log().warn(
        log::Component::kOutgoing,
        socket ? "no name of the listener on " + address.to_string() : socket.error().what);
    return;
  }
  entrance.address = to_local(*endpoint);
  entrance.listener = std::make_unique<net::Listener>(
      loop(), std::move(*socket),
      [this](Fd connection, const sockaddr_storage& peer) { accept(std::move(connection), peer); });
}

void Outgoing::accept(Fd socket, const sockaddr_storage& peer) {
  const auto from = net::Endpoint::from_sockaddr(peer);
  const auto found = from ? expected_.find(*from) : expected_.end();
  if (found == expected_.end()) {
    session_.log().warn(log::Component::kOutgoing,
                        "a connection that nobody has announced, closed");
    return;
  }
  OutgoingStream& entry = *found->second;
  expected_.erase(found);
  expected_from_.erase(entry.id());
  entry.accept(std::move(socket));
}

// ---- messages of the agent

template <class Message>
void Outgoing::dispatch(AgentLink::Outgoing kind, Message&& message) {
  const auto by_id = [this, kind](proto::ConnectionId id) { return find(kind, id); };
  if (!dispatch_outgoing(std::forward<Message>(message), by_id)) {
    session_.log().warn(log::Component::kOutgoing,
                        "the agent reports a failed read of an outgoing connection");
  }
}

OutgoingEntry* Outgoing::find(AgentLink::Outgoing kind, proto::ConnectionId agent_id) {
  const auto& ids = by_agent_id_[static_cast<std::size_t>(kind)];
  const auto found = ids.find(agent_id);
  return found == ids.end() ? nullptr : found->second;
}

void Outgoing::bind_agent_id(OutgoingEntry& entry, proto::ConnectionId agent_id) {
  by_agent_id_[static_cast<std::size_t>(entry.kind())][agent_id] = &entry;
}

void Outgoing::unbind_agent_id(OutgoingEntry& entry, proto::ConnectionId agent_id) {
  auto& ids = by_agent_id_[static_cast<std::size_t>(entry.kind())];
  // An earlier connection to the agent has used the same ids.
  if (const auto found = ids.find(agent_id); found != ids.end() && found->second == &entry) {
    ids.erase(found);
  }
}

void Outgoing::erase(OutgoingEntry& entry) {
  if (const auto from = expected_from_.find(entry.id()); from != expected_from_.end()) {
    expected_.erase(from->second);
    expected_from_.erase(from);
  }
  // Out of the table first: the destructor speaks to the agent.
  const auto node = entries_.extract(entry.id());
}

// ---- the session

void Outgoing::process_ended(Process& process) {
  filter_.process_ended(process.key);
  for (const auto& [id, entry] : entries_) {
    auto* datagram = entry->kind() == AgentLink::Outgoing::kUdp
                         ? static_cast<OutgoingDatagram*>(entry.get())
                         : nullptr;
    if (datagram != nullptr && datagram->process_key() == process.key) {
      datagram->process_ended();
    }
  }
}

void Outgoing::process_forked(Process& parent, Process& child) {
  filter_.process_forked(parent.key, child.key);
}

void Outgoing::agent_lost(const Error& /*why*/) {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, entry] : entries_) {
    ids.push_back(id);
  }
  for (const std::uint64_t id : ids) {
    if (const auto entry = entries_.find(id); entry != entries_.end()) {
      entry->second->agent_was_lost();
    }
  }
}

void Outgoing::agent_interrupted(Losses& losses) {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, entry] : entries_) {
    ids.push_back(id);
  }
  for (const std::uint64_t id : ids) {
    const auto entry = entries_.find(id);
    if (entry == entries_.end()) {
      continue;
    }
    const bool is_stream = entry->second->kind() != AgentLink::Outgoing::kUdp;
    if (entry->second->agent_was_interrupted() && is_stream) {
      ++losses.connections;
    }
  }
  for (auto& ids_of_kind : by_agent_id_) {
    ids_of_kind.clear();
  }
}

void Outgoing::tick() {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, entry] : entries_) {
    ids.push_back(id);
  }
  for (const std::uint64_t id : ids) {
    if (const auto entry = entries_.find(id); entry != entries_.end()) {
      entry->second->tick(loop().now_ms());
    }
  }
  if (entries_.empty()) {
    is_ticking_ = false;
    tick_timer_.stop();
  }
}

std::size_t Outgoing::queued_bytes() const {
  std::size_t total = 0;
  for (const auto& [id, entry] : entries_) {
    total += entry->queued_bytes();
  }
  return total;
}

}  // namespace mirrord::intproxy
