// applets/intproxy/dns_exchange.h — one query and its way from name server to name server, as the
// target's resolv.conf says: over UDP, over TCP when the answer does not fit, all from the target.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "applets/intproxy/outgoing_entry.h"
#include "net/dns_config.h"
#include "net/loop.h"

namespace mirrord::intproxy {

class NameServerLink;

class DnsExchange {
 public:
  // The answer's packet, or ETIMEDOUT, ECONNREFUSED and the like.
  using Outcome = std::expected<std::string, int>;
  using Done = std::move_only_function<void(Outcome)>;

  // `settings` outlives the exchange. `done` is called once, from the loop; it may destroy the exchange.
  DnsExchange(OutgoingHub& hub, const net::DnsSettings& settings, std::string query, Done done);
  ~DnsExchange();
  DnsExchange(const DnsExchange&) = delete;
  DnsExchange& operator=(const DnsExchange&) = delete;

  void start();

 private:
  friend class NameServerLink;
  void ask();
  void next_server(int error);
  // From the link; all may destroy it.
  void link_opened();
  void link_failed(int error);
  void data_came(std::string_view bytes);
  void judge(std::string_view packet);
  void finish(Outcome outcome);

  OutgoingHub& hub_;
  const net::DnsSettings& settings_;
  std::string query_;
  Done done_;
  std::size_t server_ = 0;
  int attempt_ = 0;
  bool is_tcp_ = false;
  bool is_over_ = false;  // with this server: what its link still says does not matter
  int error_;             // of the last server that said nothing
  std::string fallback_;  // an answer that says that the server could not
  std::string stream_;    // TCP: what has come
  std::unique_ptr<NameServerLink> link_;
  net::Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace mirrord::intproxy
