// applets/config_summary.cpp — one line per part of the configuration.
#include "applets/config_summary.h"

#include <algorithm>

#include "applets/incoming_summary.h"

namespace mirrord {
namespace {

std::string target_line(const config::ResolvedConfig& config) {
  const config::Target& target = config.target;
  std::string name;
  switch (target.kind) {
    case config::TargetKind::kTargetless:
      name = "no target";
      break;
    case config::TargetKind::kProcess:
      name = "target: process/" + std::to_string(target.pid);
      break;
    case config::TargetKind::kContainer:
      name = "target: container/" + target.name;
      break;
    case config::TargetKind::kDemo:
      name = "target: demo";
      break;
    case config::TargetKind::kAddress:
      name = "target: the agent at " + target.address;
      break;
    case config::TargetKind::kKubernetes:
      name = "target: " + target.name;
      break;
  }
  if (!target.name_space.empty())
    name += " in namespace " + target.name_space;
  return name +
         (config.file.empty() ? ", no configuration file" : ", configured by " + config.file);
}

std::string environment_line(const config::EnvironmentRules& rules) {
  if (std::ranges::find(rules.exclude, "*") != rules.exclude.end())
    return "env: no variables of the target";
  return rules.include.empty() && rules.exclude.empty() ? "env: all variables of the target"
                                                        : "env: not all variables of the target";
}

std::string file_line(config::FileMode mode) {
  switch (mode) {
    case config::FileMode::kRead:
      return "fs: reads the target's files, writes local ones";
    case config::FileMode::kWrite:
      return "fs: reads and writes the target's files";
    case config::FileMode::kLocal:
    case config::FileMode::kLocalWithOverrides:
      break;
  }
  return "fs: local files";
}

std::string outgoing_line(const config::NetworkRules& rules) {
  if (!rules.outgoing_tcp && !rules.outgoing_udp)
    return "outgoing: forwarding is disabled";
  std::string protocols = rules.outgoing_tcp ? "TCP" : "UDP";
  if (rules.outgoing_tcp && rules.outgoing_udp)
    protocols = "TCP and UDP";
  return "outgoing: forwarding is enabled on " + protocols;
}

std::string dns_line(const config::NetworkRules& rules) {
  const config::AddressFilter& filter = rules.dns_filter;
  const bool is_empty = filter.entries.empty();
  if (!rules.dns || (filter.side == config::FilterSide::kRemote && is_empty))
    return "dns: names are looked up locally";
  if (filter.side == config::FilterSide::kNone || is_empty)
    return "dns: names are looked up remotely";
  return filter.side == config::FilterSide::kRemote
             ? "dns: names are looked up locally, with exceptions"
             : "dns: names are looked up remotely, with exceptions";
}

}  // namespace

std::vector<std::string> config_summary(const config::ResolvedConfig& config) {
  std::vector<std::string> lines = {target_line(config), environment_line(config.environment),
                                    file_line(config.files.mode)};
  const std::vector<std::string> incoming = incoming_summary(config.network.incoming);
  if (incoming.empty())
    lines.emplace_back("incoming: traffic is ignored");
  for (const std::string& line : incoming)
    lines.push_back("incoming: " + line);
  lines.push_back(outgoing_line(config.network));
  lines.push_back(dns_line(config.network));
  if (!config.proxy.log_destination.empty())
    lines.push_back("internal proxy: logs will be written to " + config.proxy.log_destination);
  return lines;
}

}  // namespace mirrord
