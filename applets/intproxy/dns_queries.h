// applets/intproxy/dns_queries.h — answers kQuery: what the programs' res_query, res_search and
// res_send ask, by the target's resolv.conf.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "applets/intproxy/dns_exchange.h"
#include "applets/intproxy/session.h"
#include "net/dns_config.h"

namespace mirrord::intproxy {

class DnsQueries final : public Part {
 public:
  DnsQueries(Session& session, OutgoingHub& hub);
  ~DnsQueries() override;

  void agent_lost(const Error& why) override;
  void agent_interrupted(Losses& losses) override;

  // How long the target's resolv.conf is taken to be as it was.
  static constexpr std::uint64_t kSettingsMemoryMs = 2000;
  static constexpr std::size_t kMaxResolvConf = 64 * 1024;

 private:
  // One kQuery that is not answered yet.
  struct Lookup {
    std::uint64_t id;
    local::QueryRequest wanted;
    std::string text;  // the name or the packet
    Call call;
    std::shared_ptr<const net::DnsSettings> settings;
    std::vector<std::string> candidates;
    std::size_t at = 0;
    bool is_name_first = false;  // the name alone comes before those in search domains
    int name_error = 0;          // h_errno of that
    bool has_seen_no_data = false;
    bool has_seen_failure = false;
    std::unique_ptr<DnsExchange> exchange;
  };
  using WithSettings = std::move_only_function<void(std::shared_ptr<const net::DnsSettings>)>;

  void query(const Request& request, Call call);
  void start(std::uint64_t id);
  void ask(Lookup& lookup);
  void answered(std::uint64_t id, DnsExchange::Outcome outcome);
  void next_candidate(Lookup& lookup, int host_error, const DnsExchange::Outcome& outcome);
  void finish(Lookup& lookup, int host_error, const DnsExchange::Outcome& outcome);
  void with_settings(WithSettings use);
  void read_settings(std::uint64_t fd, std::shared_ptr<std::string> text);
  void settings_came(std::string_view text);

  Session& session_;
  OutgoingHub& hub_;
  std::uint64_t next_id_ = 1;
  std::unordered_map<std::uint64_t, std::unique_ptr<Lookup>> lookups_;
  std::shared_ptr<const net::DnsSettings> settings_;
  std::uint64_t settings_at_ms_ = 0;
  std::vector<WithSettings> waiting_;  // for settings_
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace mirrord::intproxy
