// hook/net_rules.cpp — network rules as views into the settings file.
#include "hook/net_rules.h"

#include "hook/session.h"

namespace mirrord::hook {
namespace {

template <class T>
const T* items(const local::Section& section) {
  return reinterpret_cast<const T*>(section_data(section));
}

template <class T>
uint32_t item_count(const local::Section& section) {
  return section.size / static_cast<uint32_t>(sizeof(T));
}

}  // namespace

NetRules current_net_rules() {
  const local::Settings& settings = *session.settings;
  NetRules rules = {};
  rules.flags = settings.flags;
  rules.outgoing = items<local::FilterRule>(settings.outgoing_filter);
  rules.outgoing_count = item_count<local::FilterRule>(settings.outgoing_filter);
  rules.dns = items<local::FilterRule>(settings.dns_filter);
  rules.dns_count = item_count<local::FilterRule>(settings.dns_filter);
  rules.names = section_data(settings.filter_names);
  rules.ignored = items<local::PortRange>(settings.ignored_ports);
  rules.ignored_count = item_count<local::PortRange>(settings.ignored_ports);
  rules.ignore_localhost = (settings.flags & local::kIgnoreLocalhost) != 0;
  return rules;
}

}  // namespace mirrord::hook
