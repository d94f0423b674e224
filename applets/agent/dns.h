// applets/agent/dns.h — answers a client's look-ups with the target's own resolver settings.
#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "applets/agent/client.h"
#include "net/dns.h"
#include "proto/dns.h"

namespace mirrord::agent {

// Look-ups run in parallel; the answers of each kind leave in the order of the requests.
class Dns {
 public:
  explicit Dns(ClientLink& link);
  ~Dns();
  Dns(const Dns&) = delete;
  Dns& operator=(const Dns&) = delete;

  void handle(proto::GetAddrInfoRequest&& request);
  void handle(proto::GetAddrInfoRequestV2&& request);
  void handle(proto::ReverseDnsLookupRequest&& request);

  // Requests under way at the same time; more of them wait for their turn.
  static constexpr std::size_t kMaxParallel = 256;
  // Requests that wait; above, the client is not read from.
  static constexpr std::size_t kMaxWaiting = 4096;

 private:
  struct Lookup {
    std::string name;
    net::DnsFamily family = net::DnsFamily::kIpv4;
    std::optional<proto::GetAddrInfoResponse> answer;
  };
  struct Reverse {
    std::optional<proto::Res<std::string>> answer;
  };

  void add(std::string&& name, net::DnsFamily family);
  void start_next();
  void send_finished();

  ClientLink& link_;
  std::deque<std::shared_ptr<Lookup>> lookups_;
  std::deque<std::shared_ptr<Lookup>> unstarted_;
  std::deque<std::shared_ptr<Reverse>> reverses_;
  std::size_t running_ = 0;
  bool is_starting_ = false;
  bool is_holding_input_ = false;
  net::Resolver resolver_;
};

}  // namespace mirrord::agent
