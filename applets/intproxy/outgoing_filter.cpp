// applets/intproxy/outgoing_filter.cpp — rules in order, names looked up on the way.
#include "applets/intproxy/outgoing_filter.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace mirrord::intproxy {

namespace {

bool is_loopback(const net::IpAddress& address) {
  return address.is_v6 ? address == net::IpAddress::v6_loopback() : address.bytes[0] == 127;
}

bool is_unspecified(const net::IpAddress& address) {
  return address.bytes == net::IpAddress().bytes;
}

bool has_prefix(const net::IpAddress& address, const std::uint8_t* network, unsigned bits) {
  const unsigned whole = std::min(bits / 8, 16u);
  if (std::memcmp(address.bytes.data(), network, whole) != 0) {
    return false;
  }
  const unsigned rest = bits % 8;
  return whole == 16 || rest == 0 || ((address.bytes[whole] ^ network[whole]) >> (8 - rest)) == 0;
}

bool is_zero(const local::FilterRule& rule) {
  return std::ranges::all_of(rule.address, [](std::uint8_t byte) { return byte == 0; });
}

}  // namespace

bool matches_without_name(const local::FilterRule& rule, local::Transport transport,
                          const net::Endpoint& remote) {
  const bool is_datagram = transport == local::Transport::kDatagram;
  if (rule.protocol != local::FilterProtocol::kAny &&
      (rule.protocol == local::FilterProtocol::kUdp) != is_datagram) {
    return false;
  }
  if (rule.port != 0 && rule.port != remote.port) {
    return false;
  }
  const bool is_same_family = rule.family == remote.ip.family();
  switch (rule.kind) {
    case local::FilterKind::kPort:
    case local::FilterKind::kName:
      return true;
    case local::FilterKind::kSocket:
      return is_zero(rule) ||
             (is_same_family && has_prefix(remote.ip, rule.address, remote.ip.is_v6 ? 128 : 32));
    case local::FilterKind::kSubnet:
      return is_same_family && has_prefix(remote.ip, rule.address, rule.prefix_length);
  }
  return false;
}

struct OutgoingFilter::Decision {
  local::Transport transport;
  net::Endpoint remote;
  std::size_t rule = 0;
  std::move_only_function<void(bool)> done;
};

void OutgoingFilter::decide(local::Transport transport, const net::Endpoint& remote,
                            std::move_only_function<void(bool)> done) {
  if (is_own_listener(remote)) {
    done(true);
    return;
  }
  const local::Settings* settings = session_.settings();
  // Without names in it the hook has applied the filter already.
  if (settings == nullptr || (settings->flags & local::kFilterNeedsNames) == 0) {
    done(false);
    return;
  }
  auto decision = std::make_shared<Decision>();
  decision->transport = transport;
  decision->remote = remote;
  decision->done = std::move(done);
  next_rule(std::move(decision));
}

void OutgoingFilter::next_rule(std::shared_ptr<Decision> decision) {
  const auto rules = session_.section<local::FilterRule>(&local::Settings::outgoing_filter);
  const std::string_view names = session_.text(&local::Settings::filter_names);
  const bool lists_remote = (session_.settings()->flags & local::kOutgoingFilterRemote) != 0;
  for (; decision->rule < rules.size(); ++decision->rule) {
    const local::FilterRule& rule = rules[decision->rule];
    if (!matches_without_name(rule, decision->transport, decision->remote)) {
      continue;
    }
    if (rule.kind != local::FilterKind::kName) {
      decision->done(!lists_remote);
      return;
    }
    if (rule.name >= names.size()) {
      continue;
    }
    const std::string_view rest = names.substr(rule.name);
    const std::string name(rest.substr(0, rest.find('\0')));
    const bool asks_target = lists_remote && (session_.settings()->flags & local::kDnsEnabled) != 0;
    dns_.addresses_for_filter(
        name, asks_target, [this, decision, lists_remote](const Dns::Addresses& addresses) {
          if (std::ranges::find(addresses, decision->remote.ip) != addresses.end()) {
            decision->done(!lists_remote);
          } else {
            ++decision->rule;
            next_rule(decision);
          }
        });
    return;
  }
  decision->done(lists_remote);
}

// ---- listeners of the session's own processes

bool OutgoingFilter::is_own_listener(const net::Endpoint& remote) const {
  if (!is_loopback(remote.ip) && !is_unspecified(remote.ip)) {
    return false;
  }
  return std::ranges::any_of(
      listening_, [&](const auto& process) { return process.second.contains(remote.port); });
}

void OutgoingFilter::set_listening(std::uint64_t process_key, std::uint16_t port,
                                   bool is_listening) {
  if (is_listening) {
    listening_[process_key].insert(port);
  } else if (const auto process = listening_.find(process_key); process != listening_.end()) {
    process->second.erase(port);
  }
}

void OutgoingFilter::process_ended(std::uint64_t process_key) {
  listening_.erase(process_key);
}

void OutgoingFilter::process_forked(std::uint64_t parent_key, std::uint64_t child_key) {
  if (const auto parent = listening_.find(parent_key); parent != listening_.end()) {
    listening_[child_key] = parent->second;
  }
}

}  // namespace mirrord::intproxy
