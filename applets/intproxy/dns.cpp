// applets/intproxy/dns.cpp — answers kResolve and kReverseResolve.
#include "applets/intproxy/dns.h"

#include <netdb.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "applets/intproxy/address.h"
#include "net/dns_config.h"
#include "proto/errors.h"

namespace mirrord::intproxy {

namespace {

constexpr std::size_t kMaxAddresses = 256;

std::string own_host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? net::normal_name(name) : std::string();
}

bool is_wanted(int family, bool is_v6) {
  return family == AF_UNSPEC || family == (is_v6 ? AF_INET6 : AF_INET);
}

net::DnsFamily dns_family(int family) {
  return family == AF_INET    ? net::DnsFamily::kIpv4
         : family == AF_INET6 ? net::DnsFamily::kIpv6
                              : net::DnsFamily::kBoth;
}

proto::AddressFamily wire_family(int family) {
  using proto::AddressFamily;
  return family == AF_INET    ? AddressFamily::make<"Ipv4Only">()
         : family == AF_INET6 ? AddressFamily::make<"Ipv6Only">()
                              : AddressFamily::make<"Both">();
}

proto::SockType wire_socket_type(int type) {
  using proto::SockType;
  return type == SOCK_STREAM  ? SockType::make<"Stream">()
         : type == SOCK_DGRAM ? SockType::make<"Dgram">()
                              : SockType::make<"Any">();
}

net::IpAddress to_net(const proto::Ip& ip) {
  return {ip.is_v6, ip.octets};
}

std::string list_of(const std::vector<net::DnsRecord>& records) {
  std::string list;
  for (const net::DnsRecord& record : records) {
    list += (list.empty() ? "" : " ") + record.address.to_string();
  }
  return list.empty() ? "no address" : list;
}

// Answers with the records of the wanted family; EAI_NONAME when there are none.
void answer(Call& call, const local::ResolveRequest& wanted,
            const std::vector<net::DnsRecord>& records) {
  std::vector<local::ResolvedAddress> addresses;
  std::string names;
  for (const net::DnsRecord& record : records) {
    if (addresses.size() < kMaxAddresses && is_wanted(wanted.family, record.address.is_v6) &&
        record.name.size() < 1024) {
      addresses.push_back({to_local(net::Endpoint{record.address, wanted.port}),
                           static_cast<std::uint32_t>(names.size())});
      names.append(record.name.c_str(), record.name.size() + 1);
    }
  }
  if (addresses.empty()) {
    call.fail(EAI_NONAME);
    return;
  }
  const std::span<const std::byte> address_bytes = std::as_bytes(std::span(addresses));
  std::vector<std::byte> tail(address_bytes.begin(), address_bytes.end());
  const std::span<const std::byte> name_bytes = std::as_bytes(std::span(names));
  tail.insert(tail.end(), name_bytes.begin(), name_bytes.end());
  tail.resize(std::min(tail.size(), local::kMaxData));
  call.answer(local::ResolveReply{static_cast<std::uint32_t>(addresses.size()),
                                  static_cast<std::uint32_t>(names.size())},
              tail);
}

}  // namespace

Dns::Dns(Session& session)
    : session_(session), local_resolver_(session.loop(), Fd()), own_name_(own_host_name()) {
  session.handle(local::MessageType::kResolve, [this](Process&, Request&& request, Call call) {
    resolve(request, std::move(call));
  });
  session.handle(local::MessageType::kReverseResolve,
                 [this](Process&, Request&& request, Call call) {
                   reverse_resolve(request, std::move(call));
                 });
}

void Dns::resolve(const Request& request, Call call) {
  const auto wanted = request.fixed<local::ResolveRequest>();
  const std::string name(request.text<local::ResolveRequest>());
  if (!wanted) {
    call.fail(EAI_FAIL);
    return;
  }
  if (wanted->family != AF_UNSPEC && wanted->family != AF_INET && wanted->family != AF_INET6) {
    call.fail(EAI_FAMILY);
    return;
  }
  const std::string normal = net::normal_name(name);
  if (const auto literal = net::IpAddress::parse(name)) {
    answer(call, *wanted, {{name, *literal}});
  } else if (!net::is_askable(name)) {
    call.fail(EAI_NONAME);
  } else if (net::is_localhost(normal)) {
    answer(call, *wanted,
           {{name, net::IpAddress::v4(127, 0, 0, 1)}, {name, net::IpAddress::v6_loopback()}});
  } else if (normal == own_name_) {
    resolve_locally(name, *wanted, std::move(call));
  } else {
    resolve_remotely(name, *wanted, std::move(call));
  }
}

// A program that looks its own machine up wants itself. What this machine does not know either may
// be a name of the target.
void Dns::resolve_locally(const std::string& name, const local::ResolveRequest& wanted, Call call) {
  local_resolver_.lookup(
      name, dns_family(wanted.family),
      [this, name, wanted, call = std::move(call)](net::DnsAnswer found) mutable {
        if (found && !found->empty()) {
          answer(call, wanted, *found);
        } else {
          resolve_remotely(name, wanted, std::move(call));
        }
      });
}

void Dns::resolve_remotely(const std::string& name, const local::ResolveRequest& wanted,
                           Call call) {
  proto::GetAddrInfoRequestV2 request{name,
                                      wanted.port,
                                      wire_family(wanted.family),
                                      wire_socket_type(wanted.socket_type),
                                      wanted.flags,
                                      wanted.protocol};
  session_.agent().resolve(std::move(request), [this, name, wanted, call = std::move(call)](
                                                   proto::Res<proto::DnsLookup> found) mutable {
    if (!found) {
      session_.log().debug(log::Component::kDns,
                           [&] { return name + ": " + proto::describe(found.error()); });
      call.fail(proto::to_gai_error(found.error()));
      return;
    }
    std::vector<net::DnsRecord> records;
    for (proto::LookupRecord& record : *found) {
      remember(to_net(record.ip), name);
      records.push_back({std::move(record.name), to_net(record.ip)});
    }
    session_.log().debug(log::Component::kDns, [&] { return name + ": " + list_of(records); });
    answer(call, wanted, records);
  });
}

// ---- names of addresses

void Dns::reverse_resolve(const Request& request, Call call) {
  const auto wanted = request.fixed<local::Address>();
  const auto endpoint = wanted ? endpoint_of(*wanted) : std::nullopt;
  if (!endpoint) {
    call.fail(EAI_FAMILY);
    return;
  }
  if (!session_.agent().supports(proto::Gate::kReverseDns)) {
    answer_remembered(endpoint->ip, std::move(call));
    return;
  }
  session_.agent().resolve_reverse(
      {endpoint->ip.is_v6, endpoint->ip.bytes},
      [this, ip = endpoint->ip, call = std::move(call)](proto::Res<std::string> name) mutable {
        if (name && !name->empty()) {
          call.answer_bytes(std::as_bytes(std::span(*name)));
        } else {
          answer_remembered(ip, std::move(call));
        }
      });
}

void Dns::answer_remembered(const net::IpAddress& address, Call call) {
  const auto known = names_.find(address);
  if (known == names_.end()) {
    call.fail(EAI_NONAME);
  } else {
    call.answer_bytes(std::as_bytes(std::span(known->second)));
  }
}

void Dns::remember(const net::IpAddress& address, const std::string& name) {
  const auto [entry, is_new] = names_.insert_or_assign(address, name);
  if (!is_new) {
    return;
  }
  remembered_.push_back(address);
  if (remembered_.size() > kMaxRemembered) {
    names_.erase(remembered_.front());
    remembered_.pop_front();
  }
}

// ---- names in filters

void Dns::addresses_for_filter(const std::string& name, bool is_remote,
                               std::move_only_function<void(const Addresses&)> done) {
  if (const auto literal = net::IpAddress::parse(name)) {
    done({*literal});
    return;
  }
  FilterName& entry = filter_names_[{name, is_remote}];
  const std::uint64_t now = session_.loop().now_ms();
  if (entry.is_known && now - entry.known_at_ms < kFilterMemoryMs) {
    done(entry.addresses);
    return;
  }
  entry.waiting.push_back(std::move(done));
  if (entry.waiting.size() > 1) {
    return;
  }
  const auto finish = [this, &entry](Addresses addresses) {
    entry.addresses = std::move(addresses);
    // A name without addresses may be about to appear: it is asked for again soon.
    entry.is_known = !entry.addresses.empty();
    entry.known_at_ms = session_.loop().now_ms();
    for (auto& waiting : std::exchange(entry.waiting, {})) {
      waiting(entry.addresses);
    }
  };
  if (!is_remote) {
    local_resolver_.lookup(name, net::DnsFamily::kBoth, [finish](net::DnsAnswer found) {
      Addresses addresses;
      for (const net::DnsRecord& record : found.value_or(std::vector<net::DnsRecord>())) {
        addresses.push_back(record.address);
      }
      finish(std::move(addresses));
    });
    return;
  }
  proto::GetAddrInfoRequestV2 request{name, 0, wire_family(AF_UNSPEC), wire_socket_type(0), 0, 0};
  session_.agent().resolve(
      std::move(request), [this, name, finish](proto::Res<proto::DnsLookup> found) {
        Addresses addresses;
        for (const proto::LookupRecord& record : found.value_or(proto::DnsLookup())) {
          remember(to_net(record.ip), name);
          addresses.push_back(to_net(record.ip));
        }
        finish(std::move(addresses));
      });
}

}  // namespace mirrord::intproxy
