// net/dns_config.h — resolv.conf and hosts as values, and the order in which names are tried.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "net/address.h"

namespace mirrord::net {

// What resolv.conf says, with the defaults and limits of glibc.
struct DnsSettings {
  // As written: an address, "fe80::1%eth0", or "[address]:port".
  std::vector<std::string> servers;
  std::vector<std::string> search;  // the last of all `search` and `domain` lines
  int ndots = 1;
  std::chrono::seconds timeout{5};
  int attempts = 2;
  bool rotate = false;
  bool use_tcp = false;
  bool edns0 = false;

  static constexpr std::size_t kMaxServers = 8;
  static constexpr std::size_t kMaxSearch = 32;
};

[[nodiscard]] DnsSettings parse_resolv_conf(std::string_view text);

// The full names to ask for, in order, when a program looks up `name`.
[[nodiscard]] std::vector<std::string> search_candidates(const DnsSettings& settings,
                                                         std::string_view name);

struct HostsFile {
  struct Entry {
    IpAddress address;
    std::string canonical_name;
  };
  std::multimap<std::string, Entry, std::less<>> by_name;  // keys in lower case
  std::map<IpAddress, std::string> by_address;             // the first line wins
};

[[nodiscard]] HostsFile parse_hosts(std::string_view text);

// Lower case, without the trailing dot: how names are compared.
[[nodiscard]] std::string normal_name(std::string_view name);
// "localhost" or below it (RFC 6761); `name` is normal.
[[nodiscard]] bool is_localhost(std::string_view name);
// Could this be asked on the wire at all: 1 to 253 bytes, labels of 1 to 63, no NUL or blanks.
[[nodiscard]] bool is_askable(std::string_view name);
// "4.3.2.1.in-addr.arpa" and its IPv6 counterpart.
[[nodiscard]] std::string reverse_name(const IpAddress& address);

}  // namespace mirrord::net
