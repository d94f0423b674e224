// applets/intproxy/outgoing_filter.h — connects that the session must not send to the target: those to
// its own listeners, and those that a filter with names keeps local.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "applets/intproxy/dns.h"
#include "net/address.h"
#include "proto/local.h"

namespace mirrord::intproxy {

class OutgoingFilter {
 public:
  OutgoingFilter(Session& session, Dns& dns) : session_(session), dns_(dns) {}

  // Calls `done` with whether the connect stays on this machine; at once unless a name must be
  // looked up first.
  void decide(local::Transport transport, const net::Endpoint& remote,
              std::move_only_function<void(bool is_local)> done);

  void set_listening(std::uint64_t process_key, std::uint16_t port, bool is_listening);
  void process_ended(std::uint64_t process_key);
  void process_forked(std::uint64_t parent_key, std::uint64_t child_key);

 private:
  struct Decision;
  [[nodiscard]] bool is_own_listener(const net::Endpoint& remote) const;
  void next_rule(std::shared_ptr<Decision> decision);

  Session& session_;
  Dns& dns_;
  std::map<std::uint64_t, std::set<std::uint16_t>> listening_;  // by process key
};

// Does the rule match, apart from the addresses of a kName rule?
bool matches_without_name(const local::FilterRule& rule, local::Transport transport,
                          const net::Endpoint& remote);

}  // namespace mirrord::intproxy
