// applets/incoming_summary.cpp — the sentences about incoming traffic.
#include "applets/incoming_summary.h"

#include "applets/http_filter.h"

namespace mirrord {
namespace {

std::string port_list(const std::vector<uint16_t>& ports) {
  std::string text = ports.size() == 1 ? "port " : "ports ";
  for (std::size_t i = 0; i < ports.size(); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(ports[i]);
  return ports.empty() ? "no port" : text;
}

std::string pairs_text(const std::vector<config::PortPair>& pairs) {
  std::string text;
  for (const config::PortPair& pair : pairs) {
    text += (text.empty() ? "" : ", ") + std::to_string(pair.program) + " is " +
            std::to_string(pair.other);
  }
  return text;
}

}  // namespace

std::vector<std::string> incoming_summary(const config::IncomingRules& rules) {
  if (rules.mode == config::IncomingMode::kOff)
    return {};
  const std::string verb = rules.mode == config::IncomingMode::kSteal ? "steals " : "mirrors ";
  std::string where = rules.ports ? port_list(*rules.ports) + " once the program listens there"
                                  : "every port that the program listens on";
  if (!rules.ignore_ports.empty())
    where += " but " + port_list(rules.ignore_ports);
  std::vector<std::string> lines;
  if (!rules.http_filter) {
    lines.push_back(verb + "everything that reaches " + where);
  } else {
    const std::string wanted = "HTTP requests with " + describe(*rules.http_filter);
    if (rules.http_filter_ports) {
      lines.push_back(verb + wanted + " on " + port_list(*rules.http_filter_ports) +
                      "; on other ports everything, of " + where);
    } else {
      lines.push_back(verb + wanted + " that reach " + where + "; the target keeps all else");
    }
  }
  if (!rules.port_mapping.empty())
    lines.push_back("the program's port for the target's: " + pairs_text(rules.port_mapping));
  return lines;
}

}  // namespace mirrord
