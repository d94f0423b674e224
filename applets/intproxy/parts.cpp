// applets/intproxy/parts.cpp — the list of a session's parts.
#include "applets/intproxy/dns.h"
#include "applets/intproxy/dns_queries.h"
#include "applets/intproxy/files.h"
#include "applets/intproxy/incoming.h"
#include "applets/intproxy/outgoing.h"
#include "applets/intproxy/session.h"

namespace mirrord::intproxy {

std::vector<std::unique_ptr<Part>> make_parts(Session& session) {
  std::vector<std::unique_ptr<Part>> parts;
  parts.push_back(std::make_unique<Files>(session));
  auto dns = std::make_unique<Dns>(session);
  Dns& names = *dns;
  parts.push_back(std::move(dns));
  auto outgoing = std::make_unique<Outgoing>(session, names);
  // In front of the part that its connections use: parts are destroyed in this order.
  parts.push_back(std::make_unique<DnsQueries>(session, *outgoing));
  parts.push_back(std::move(outgoing));
  parts.push_back(std::make_unique<Incoming>(session));
  return parts;
}

}  // namespace mirrord::intproxy
