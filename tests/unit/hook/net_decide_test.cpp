// tests/unit/hook/net_decide_test.cpp — outgoing and DNS filters as the hook evaluates them.
#include "hook/net_decide.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>
#include <vector>

namespace mirrord::hook {
namespace {

using local::FilterKind;
using local::FilterProtocol;
using local::FilterRule;
using local::Transport;

local::Address address(const std::string& text, uint16_t port) {
  local::Address out{};
  out.port = port;
  out.family = text.find(':') == std::string::npos ? AF_INET : AF_INET6;
  out.length = out.family == AF_INET ? 4 : 16;
  EXPECT_EQ(inet_pton(out.family, text.c_str(), out.data), 1);
  return out;
}

FilterRule rule(FilterKind kind, const std::string& ip, uint16_t port, uint8_t prefix = 0,
                FilterProtocol protocol = FilterProtocol::kAny) {
  FilterRule out{};
  out.kind = kind;
  out.protocol = protocol;
  out.port = port;
  out.prefix_length = prefix;
  if (!ip.empty()) {
    out.family = ip.find(':') == std::string::npos ? AF_INET : AF_INET6;
    inet_pton(out.family, ip.c_str(), out.address);
  }
  return out;
}

class NetDecide : public testing::Test {
 protected:
  NetDecide() {
    rules_.flags = local::kOutgoingTcp | local::kOutgoingUdp | local::kDnsEnabled | local::kIpv6;
  }
  NetDecision tcp(const std::string& ip, uint16_t port) {
    return connect(Transport::kStream, ip, port);
  }
  NetDecision udp(const std::string& ip, uint16_t port) {
    return connect(Transport::kDatagram, ip, port);
  }
  NetDecision connect(Transport transport, const std::string& ip, uint16_t port) {
    return decide_connect(rules_, transport, address(ip, port));
  }
  void outgoing(std::vector<FilterRule> list, bool lists_remote) {
    list_ = std::move(list);
    rules_.outgoing = list_.data();
    rules_.outgoing_count = static_cast<uint32_t>(list_.size());
    rules_.flags |= lists_remote ? uint32_t{local::kOutgoingFilterRemote} : 0U;
  }
  void dns(std::vector<FilterRule> list, const char* names, bool lists_remote) {
    list_ = std::move(list);
    rules_.dns = list_.data();
    rules_.dns_count = static_cast<uint32_t>(list_.size());
    rules_.names = names;
    rules_.flags |= lists_remote ? uint32_t{local::kDnsFilterRemote} : 0U;
  }

  NetRules rules_{};
  std::vector<FilterRule> list_;
};

TEST_F(NetDecide, SendsEverythingToTheTargetWithoutAFilter) {
  EXPECT_EQ(tcp("10.0.0.1", 80), NetDecision::kRemote);
  EXPECT_EQ(udp("2001:db8::1", 53), NetDecision::kRemote);
}

TEST_F(NetDecide, AsksAboutLoopbackBecauseTheSessionMayListenThere) {
  EXPECT_EQ(tcp("127.0.0.1", 80), NetDecision::kAsk);
  EXPECT_EQ(tcp("::1", 80), NetDecision::kAsk);
  EXPECT_EQ(tcp("0.0.0.0", 80), NetDecision::kAsk);
  rules_.ignore_localhost = true;
  EXPECT_EQ(tcp("127.0.0.1", 80), NetDecision::kLocal);
}

TEST_F(NetDecide, KeepsPortZeroGroupsAndLinkLocalHere) {
  EXPECT_EQ(tcp("10.0.0.1", 0), NetDecision::kLocal);
  EXPECT_EQ(udp("224.0.0.251", 5353), NetDecision::kLocal);
  EXPECT_EQ(udp("255.255.255.255", 68), NetDecision::kLocal);
  EXPECT_EQ(tcp("fe80::1", 80), NetDecision::kLocal);
  EXPECT_EQ(tcp("169.254.169.254", 80), NetDecision::kRemote);  // cloud metadata of the target
}

TEST_F(NetDecide, KeepsADisabledProtocolHere) {
  rules_.flags &= ~uint32_t{local::kOutgoingUdp};
  EXPECT_EQ(udp("10.0.0.1", 53), NetDecision::kLocal);
  EXPECT_EQ(tcp("10.0.0.1", 53), NetDecision::kRemote);
}

TEST_F(NetDecide, KeepsDebuggerPortsOnLoopbackHereButNotTheTwoExceptions) {
  const local::PortRange range{45000, 65535};
  rules_.ignored = &range;
  rules_.ignored_count = 1;
  EXPECT_EQ(tcp("127.0.0.1", 46000), NetDecision::kLocal);
  EXPECT_EQ(tcp("127.0.0.1", 50000), NetDecision::kAsk);
  EXPECT_EQ(tcp("10.0.0.1", 46000), NetDecision::kRemote);
}

TEST_F(NetDecide, RemoteListSendsOnlyWhatItNames) {
  outgoing({rule(FilterKind::kSubnet, "10.1.0.0", 0, 16), rule(FilterKind::kPort, "", 5432)}, true);
  EXPECT_EQ(tcp("10.1.200.7", 80), NetDecision::kRemote);
  EXPECT_EQ(tcp("10.2.0.1", 80), NetDecision::kLocal);
  EXPECT_EQ(tcp("10.2.0.1", 5432), NetDecision::kRemote);
}

TEST_F(NetDecide, LocalListKeepsOnlyWhatItNames) {
  outgoing({rule(FilterKind::kSocket, "1.2.3.4", 443), rule(FilterKind::kSocket, "0.0.0.0", 25)},
           false);
  EXPECT_EQ(tcp("1.2.3.4", 443), NetDecision::kLocal);
  EXPECT_EQ(tcp("1.2.3.4", 80), NetDecision::kRemote);
  EXPECT_EQ(tcp("9.9.9.9", 25), NetDecision::kLocal);
}

TEST_F(NetDecide, MatchesTheProtocolOfARule) {
  outgoing({rule(FilterKind::kPort, "", 53, 0, FilterProtocol::kUdp)}, true);
  EXPECT_EQ(udp("10.0.0.1", 53), NetDecision::kRemote);
  EXPECT_EQ(tcp("10.0.0.1", 53), NetDecision::kLocal);
}

TEST_F(NetDecide, MatchesPrefixesThatEndInsideAByte) {
  outgoing({rule(FilterKind::kSubnet, "172.16.0.0", 0, 12),
            rule(FilterKind::kSubnet, "2001:db8::", 0, 33)},
           true);
  EXPECT_EQ(tcp("172.31.255.255", 1), NetDecision::kRemote);
  EXPECT_EQ(tcp("172.32.0.0", 1), NetDecision::kLocal);
  EXPECT_EQ(tcp("2001:db8:7fff::1", 1), NetDecision::kRemote);
  EXPECT_EQ(tcp("2001:db8:8000::1", 1), NetDecision::kLocal);
}

TEST_F(NetDecide, LeavesNamesInAFilterToTheIntproxy) {
  rules_.flags |= local::kFilterNeedsNames;
  EXPECT_EQ(tcp("10.0.0.1", 80), NetDecision::kAsk);
}

TEST_F(NetDecide, FiltersLookupsByExactNamePortAndNetwork) {
  FilterRule name = rule(FilterKind::kName, "", 0);
  name.name = 4;
  dns({name, rule(FilterKind::kSubnet, "10.0.0.0", 0, 8)}, "abc\0db.internal", false);
  EXPECT_EQ(decide_lookup(rules_, "db.internal", 5432), NetDecision::kLocal);
  EXPECT_EQ(decide_lookup(rules_, "db.internal.", 5432), NetDecision::kRemote);
  EXPECT_EQ(decide_lookup(rules_, "10.2.3.4", 0), NetDecision::kLocal);
  EXPECT_EQ(decide_lookup(rules_, "other", 0), NetDecision::kRemote);
}

TEST_F(NetDecide, RemoteLookupListKeepsTheRestHere) {
  dns({rule(FilterKind::kPort, "", 53)}, "", true);
  EXPECT_EQ(decide_lookup(rules_, "a", 53), NetDecision::kRemote);
  EXPECT_EQ(decide_lookup(rules_, "a", 80), NetDecision::kLocal);
  rules_.flags &= ~uint32_t{local::kDnsEnabled};
  EXPECT_EQ(decide_lookup(rules_, "a", 53), NetDecision::kLocal);
}

}  // namespace
}  // namespace mirrord::hook
