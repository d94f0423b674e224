// applets/intproxy/dns.h — the programs' look-ups, and what is remembered of their answers.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "applets/intproxy/session.h"
#include "net/address.h"
#include "net/dns.h"

namespace mirrord::intproxy {

class Dns final : public Part {
 public:
  explicit Dns(Session& session);

  // The addresses of a name in a filter, remembered for kFilterMemory. `is_remote`: as the target
  // sees it. A name without addresses is no error: then nothing matches.
  using Addresses = std::vector<net::IpAddress>;
  void addresses_for_filter(const std::string& name, bool is_remote,
                            std::move_only_function<void(const Addresses&)> done);

  static constexpr std::size_t kMaxRemembered = 4096;
  static constexpr std::uint64_t kFilterMemoryMs = 30'000;

 private:
  struct FilterName {
    Addresses addresses;
    std::uint64_t known_at_ms = 0;
    bool is_known = false;
    std::vector<std::move_only_function<void(const Addresses&)>> waiting;
  };

  void resolve(const Request& request, Call call);
  void resolve_locally(const std::string& name, const local::ResolveRequest& wanted, Call call);
  void resolve_remotely(const std::string& name, const local::ResolveRequest& wanted, Call call);
  void reverse_resolve(const Request& request, Call call);
  void answer_remembered(const net::IpAddress& address, Call call);
  void remember(const net::IpAddress& address, const std::string& name);

  Session& session_;
  net::Resolver local_resolver_;  // of this machine
  std::string own_name_;          // of this machine, in lower case
  std::map<net::IpAddress, std::string> names_;
  std::deque<net::IpAddress> remembered_;  // oldest first
  std::map<std::pair<std::string, bool>, FilterName> filter_names_;
};

}  // namespace mirrord::intproxy
