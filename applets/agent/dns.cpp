// applets/agent/dns.cpp — resolver answers in wire form, kept in the order of the requests.
#include "applets/agent/dns.h"

#include <fcntl.h>

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "proto/daemon_message.h"

namespace mirrord::agent {

namespace {

// A number in the environment, at least 1.
std::optional<int> number_of_variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) {
    return std::nullopt;
  }
  const std::string_view text(value);
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 1) {
    return std::nullopt;
  }
  return number;
}

net::Resolver::Overrides overrides() {
  constexpr int kMaxSeconds = 300, kMaxAttempts = 100;
  net::Resolver::Overrides result;
  if (const auto seconds = number_of_variable("MIRRORD_AGENT_DNS_TIMEOUT")) {
    result.timeout = std::chrono::seconds(std::min(*seconds, kMaxSeconds));
  }
  if (const auto attempts = number_of_variable("MIRRORD_AGENT_DNS_ATTEMPTS")) {
    result.attempts = std::min(*attempts, kMaxAttempts);
  }
  return result;
}

net::DnsFamily family_of(const proto::AddressFamily& family) {
  using proto::AddressFamily;
  switch (family.index()) {
    case AddressFamily::index_of<"Ipv4Only">:
      return net::DnsFamily::kIpv4;
    case AddressFamily::index_of<"Ipv6Only">:
      return net::DnsFamily::kIpv6;
    case AddressFamily::index_of<"Any">:
      return net::DnsFamily::kAny;
  }
  return net::DnsFamily::kBoth;
}

proto::ResponseError to_wire(net::DnsFailure&& failure) {
  using Kind = proto::ResolveErrorKindInternal;
  const auto wrap = [](Kind kind) {
    return proto::ResponseError::make<"DnsLookup">(std::move(kind));
  };
  switch (failure.kind) {
    case net::DnsFailure::Kind::kNoRecords:
      return wrap(Kind::make<"NoRecordsFound">(failure.response_code));
    case net::DnsFailure::Kind::kTimeout:
      return wrap(Kind::make<"Timeout">());
    case net::DnsFailure::Kind::kNoConnections:
      return wrap(Kind::make<"NoConnections">());
    case net::DnsFailure::Kind::kPermission:
      return wrap(Kind::make<"PermissionDenied">());
    case net::DnsFailure::Kind::kServer:
      break;
  }
  return wrap(Kind::make<"Message">(std::move(failure.text)));
}

proto::GetAddrInfoResponse to_wire(net::DnsAnswer&& answer) {
  if (!answer) {
    return std::unexpected(to_wire(std::move(answer.error())));
  }
  proto::DnsLookup records;
  records.reserve(answer->size());
  for (net::DnsRecord& record : *answer) {
    records.push_back({std::move(record.name), {record.address.is_v6, record.address.bytes}});
  }
  return records;
}

}  // namespace

Dns::Dns(ClientLink& link)
    : link_(link),
      resolver_(link.loop(), Fd(::fcntl(link.target().root.get(), F_DUPFD_CLOEXEC, 0)),
                overrides()) {}

Dns::~Dns() {
  if (is_holding_input_) {
    link_.release_input();
  }
}

void Dns::handle(proto::GetAddrInfoRequest&& request) {
  add(std::move(request.node), net::DnsFamily::kIpv4);
}

void Dns::handle(proto::GetAddrInfoRequestV2&& request) {
  add(std::move(request.node), family_of(request.family));
}

void Dns::handle(proto::ReverseDnsLookupRequest&& request) {
  auto slot = std::make_shared<Reverse>();
  reverses_.push_back(slot);
  const net::IpAddress address{request.ip_address.is_v6, request.ip_address.octets};
  resolver_.reverse(address, [this, slot](net::DnsNameAnswer answer) {
    if (answer) {
      slot->answer = std::move(*answer);
    } else {
      slot->answer = std::unexpected(to_wire(std::move(answer.error())));
    }
    send_finished();
  });
}

void Dns::add(std::string&& name, net::DnsFamily family) {
  auto lookup = std::make_shared<Lookup>();
  lookup->name = std::move(name);
  lookup->family = family;
  lookups_.push_back(lookup);
  unstarted_.push_back(std::move(lookup));
  start_next();
  if (!is_holding_input_ && lookups_.size() > kMaxWaiting) {
    is_holding_input_ = true;
    link_.hold_input();
  }
}

void Dns::start_next() {
  if (is_starting_) {
    return;  // an answer came at once: the loop below goes on
  }
  is_starting_ = true;
  while (running_ < kMaxParallel && !unstarted_.empty()) {
    const std::shared_ptr<Lookup> lookup = std::move(unstarted_.front());
    unstarted_.pop_front();
    ++running_;
    resolver_.lookup(lookup->name, lookup->family, [this, lookup](net::DnsAnswer answer) {
      --running_;
      lookup->answer = to_wire(std::move(answer));
      send_finished();
      start_next();
    });
  }
  is_starting_ = false;
}

void Dns::send_finished() {
  while (!lookups_.empty() && lookups_.front()->answer) {
    const std::shared_ptr<Lookup> first = std::move(lookups_.front());
    lookups_.pop_front();
    link_.send(proto::DaemonMessage::make<"GetAddrInfoResponse">(std::move(*first->answer)));
  }
  while (!reverses_.empty() && reverses_.front()->answer) {
    const std::shared_ptr<Reverse> first = std::move(reverses_.front());
    reverses_.pop_front();
    link_.send(proto::DaemonMessage::make<"ReverseDnsLookup">(
        proto::ReverseDnsLookupResponse{std::move(*first->answer)}));
  }
  if (is_holding_input_ && lookups_.size() < kMaxWaiting / 2) {
    is_holding_input_ = false;
    link_.release_input();
  }
}

}  // namespace mirrord::agent
