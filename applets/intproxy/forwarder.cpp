// applets/intproxy/forwarder.cpp — listeners, look-ups and the table of forwarded connections.
#include "applets/intproxy/forwarder.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "applets/intproxy/address.h"
#include "proto/errors.h"

namespace mirrord::intproxy {
namespace {

constexpr int kBacklog = 1024;

// The first IPv4 address, else the first of all.
std::optional<net::IpAddress> preferred(const proto::DnsLookup& records) {
  const auto v4 = std::ranges::find_if(
      records, [](const proto::LookupRecord& record) { return !record.ip.is_v6; });
  const auto chosen = v4 == records.end() ? records.begin() : v4;
  return chosen == records.end()
             ? std::nullopt
             : std::optional(net::IpAddress{chosen->ip.is_v6, chosen->ip.octets});
}

void reset(Fd socket) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

}  // namespace

Forwarder::Forwarder(net::Loop& loop, AgentLink& link, Warn warn)
    : loop_(loop),
      link_(link),
      warn_(std::move(warn)),
      input_limit_(loop, link, [this] { return queued_bytes(); }) {
  link_.set_handler<"TcpOutgoing">([this](proto::DaemonTcpOutgoing&& message) {
    dispatch_outgoing(std::move(message), [this](proto::ConnectionId id) {
      const auto found = by_agent_id_.find(id);
      return found == by_agent_id_.end() ? nullptr : found->second;
    });
  });
}

Forwarder::~Forwarder() {
  *alive_ = false;
  connections_.clear();  // they use the other tables
}

Result<net::Endpoint> Forwarder::forward(const net::Endpoint& local, std::string host,
                                         std::uint16_t port) {
  MIRRORD_TRY(socket,
              net::listen_tcp(local, kBacklog, "Choose another local port: LOCAL_PORT:HOST:PORT."));
  const net::Endpoint endpoint = net::local_endpoint(socket.get()).value_or(local);
  auto added = std::make_unique<Port>(std::move(host), port);
  added->listener = std::make_unique<net::Listener>(
      loop_, std::move(socket), [this, &added = *added](Fd connection, const sockaddr_storage&) {
        accept(added, std::move(connection));
      });
  ports_.push_back(std::move(added));
  return endpoint;
}

void Forwarder::accept(const Port& port, Fd socket) {
  if (const auto literal = net::IpAddress::parse(port.host)) {
    const net::Endpoint remote{*literal, port.port};
    connect(remote, remote.to_string(), std::move(socket));
  } else {
    resolve(port, std::move(socket));
  }
}

void Forwarder::resolve(const Port& port, Fd socket) {
  using proto::AddressFamily;
  using proto::SockType;
  proto::GetAddrInfoRequestV2 request{
      port.host, port.port, AddressFamily::make<"Both">(), SockType::make<"Stream">(), 0, 0};
  link_.resolve(
      std::move(request), [this, alive = alive_, host = port.host, number = port.port,
                           socket = std::move(socket)](proto::Res<proto::DnsLookup> found) mutable {
        if (!*alive) {
          return;
        }
        const auto address = found ? preferred(*found) : std::nullopt;
        if (!address) {
          warn_("look up " + host + " in the target: " +
                (found ? "the name has no address" : proto::describe(found.error())));
          reset(std::move(socket));
          return;
        }
        connect({*address, number}, host + ":" + std::to_string(number), std::move(socket));
      });
}

void Forwarder::connect(const net::Endpoint& remote, const std::string& name, Fd socket) {
  const std::uint64_t id = next_id_++;
  auto stream = std::make_unique<OutgoingStream>(*this, id, AgentLink::Outgoing::kTcp,
                                                 *to_wire(to_local(remote)));
  OutgoingStream& added = *stream;
  connections_.emplace(id, Connection{std::move(stream), name});
  added.connect();
  added.accept(std::move(socket));
}

void Forwarder::agent_interrupted() {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, connection] : connections_) {
    ids.push_back(id);
  }
  for (const std::uint64_t id : ids) {
    if (const auto found = connections_.find(id); found != connections_.end()) {
      found->second.stream->agent_was_interrupted();
    }
  }
  by_agent_id_.clear();
}

void Forwarder::bind_agent_id(OutgoingEntry& entry, proto::ConnectionId agent_id) {
  by_agent_id_[agent_id] = &entry;
  connections_.at(entry.id()).was_open = true;
}

void Forwarder::unbind_agent_id(OutgoingEntry& entry, proto::ConnectionId agent_id) {
  const auto found = by_agent_id_.find(agent_id);
  if (found != by_agent_id_.end() && found->second == &entry) {
    by_agent_id_.erase(found);
  }
}

void Forwarder::erase(OutgoingEntry& entry) {
  // Out of the table first: the destructor speaks to the agent.
  const auto node = connections_.extract(entry.id());
  if (!node.empty() && !node.mapped().was_open) {
    warn_(system_error("connect from the target to " + node.mapped().remote, entry.error()).what);
  }
}

std::size_t Forwarder::queued_bytes() const {
  std::size_t total = 0;
  for (const auto& [id, connection] : connections_) {
    total += connection.stream->queued_bytes();
  }
  return total;
}

}  // namespace mirrord::intproxy
