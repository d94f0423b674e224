// hook/net_decide.cpp — outgoing and DNS filters (order and meaning of the configuration).
#include "hook/net_decide.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "hook/address.h"

namespace mirrord::hook {
namespace {

using local::Address;
using local::FilterKind;
using local::FilterProtocol;
using local::FilterRule;
using local::Transport;

// Debuggers' own port range on loopback has these two exceptions: programs under test use them.
constexpr uint16_t kNeverDebugger[] = {50000, 50001};

// Groups and the local link mean nothing on the target's side.
bool is_link_local(const Address& address) {
  if (address.family == AF_INET) {
    return (address.data[0] >= 224 && address.data[0] < 240) || address.data[0] == 255;
  }
  return address.data[0] == 0xFF || (address.data[0] == 0xFE && (address.data[1] & 0xC0) == 0x80);
}

bool is_debugger_port(const NetRules& rules, uint16_t port) {
  for (const uint16_t exception : kNeverDebugger) {
    if (port == exception) {
      return false;
    }
  }
  for (uint32_t i = 0; i < rules.ignored_count; ++i) {
    if (port >= rules.ignored[i].first && port <= rules.ignored[i].last) {
      return true;
    }
  }
  return false;
}

bool is_zero(const uint8_t* bytes, unsigned count) {
  for (unsigned i = 0; i < count; ++i) {
    if (bytes[i] != 0) {
      return false;
    }
  }
  return true;
}

bool has_prefix(const uint8_t* address, const uint8_t* network, unsigned bits) {
  for (; bits >= 8; bits -= 8) {
    if (*address++ != *network++) {
      return false;
    }
  }
  const unsigned mask = (0xFF00U >> bits) & 0xFFU;
  return bits == 0 || ((*address ^ *network) & mask) == 0;
}

bool is_protocol(FilterProtocol protocol, Transport transport) {
  return protocol == FilterProtocol::kAny ||
         (protocol == FilterProtocol::kUdp) == (transport == Transport::kDatagram);
}

bool matches_address(const FilterRule& rule, const Address& address) {
  const unsigned size = rule.family == AF_INET ? 4 : 16;
  switch (rule.kind) {
    case FilterKind::kPort:
      return true;
    case FilterKind::kSocket:
      return is_zero(rule.address, size) ||
             (rule.family == address.family && has_prefix(address.data, rule.address, size * 8));
    case FilterKind::kSubnet:
      return rule.family == address.family &&
             has_prefix(address.data, rule.address, rule.prefix_length);
    case FilterKind::kName:
      return false;  // the intproxy's business
  }
  return false;
}

bool equals(const char* a, const char* b) {
  while (*a != 0 && *a == *b) {
    ++a;
    ++b;
  }
  return *a == *b;
}

bool parse_numeric(const char* node, Address* out) {
  *out = Address{};
  if (inet_pton(AF_INET, node, out->data) == 1) {
    out->family = AF_INET;
    out->length = 4;
    return true;
  }
  if (inet_pton(AF_INET6, node, out->data) == 1) {
    out->family = AF_INET6;
    out->length = 16;
    return true;
  }
  return false;
}

bool matches_lookup(const NetRules& rules, const FilterRule& rule, const char* node,
                    uint16_t port) {
  if (rule.port != 0 && rule.port != port) {
    return false;
  }
  if (rule.kind == FilterKind::kName) {
    return equals(rules.names + rule.name, node);
  }
  if (rule.kind == FilterKind::kPort) {
    return true;
  }
  Address address;
  const unsigned size = rule.family == AF_INET ? 4 : 16;
  if (rule.kind == FilterKind::kSocket && is_zero(rule.address, size)) {
    return true;
  }
  return parse_numeric(node, &address) && matches_address(rule, address);
}

}  // namespace

NetDecision decide_connect(const NetRules& rules, Transport transport, const Address& remote) {
  const bool is_local_address = is_loopback(remote) || is_unspecified(remote);
  if (remote.port == 0 || (is_local_address && rules.ignore_localhost)) {
    return NetDecision::kLocal;
  }
  if ((is_loopback(remote) && is_debugger_port(rules, remote.port)) || is_link_local(remote)) {
    return NetDecision::kLocal;
  }
  const uint32_t needed =
      transport == Transport::kDatagram ? local::kOutgoingUdp : local::kOutgoingTcp;
  if ((rules.flags & needed) == 0) {
    return NetDecision::kLocal;
  }
  if ((rules.flags & local::kFilterNeedsNames) != 0) {
    return NetDecision::kAsk;
  }
  if (rules.outgoing_count > 0) {
    bool is_listed = false;
    for (uint32_t i = 0; i < rules.outgoing_count && !is_listed; ++i) {
      const FilterRule& rule = rules.outgoing[i];
      is_listed = is_protocol(rule.protocol, transport) &&
                  (rule.port == 0 || rule.port == remote.port) && matches_address(rule, remote);
    }
    if (is_listed != ((rules.flags & local::kOutgoingFilterRemote) != 0)) {
      return NetDecision::kLocal;
    }
  }
  // Another process of this session may be listening there.
  return is_local_address ? NetDecision::kAsk : NetDecision::kRemote;
}

NetDecision decide_lookup(const NetRules& rules, const char* node, uint16_t port) {
  if ((rules.flags & local::kDnsEnabled) == 0) {
    return NetDecision::kLocal;
  }
  if (rules.dns_count == 0) {
    return NetDecision::kRemote;
  }
  bool is_listed = false;
  for (uint32_t i = 0; i < rules.dns_count && !is_listed; ++i) {
    is_listed = matches_lookup(rules, rules.dns[i], node, port);
  }
  const bool lists_remote = (rules.flags & local::kDnsFilterRemote) != 0;
  return is_listed == lists_remote ? NetDecision::kRemote : NetDecision::kLocal;
}

}  // namespace mirrord::hook
