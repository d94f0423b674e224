// applets/config/settings_file.cpp — lays out the settings page.
#include "applets/config/settings_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <span>

#include "applets/config/check.h"
#include "applets/config/filters.h"
#include "net/fd.h"

namespace mirrord::config {
namespace {

using local::Section;
using local::Settings;

constexpr std::string_view kBuildTools[] = {
    "as",       "cc",          "ld",          "go",           "air",        "asm",
    "cc1",      "cgo",         "dlv",         "gcc",          "git",        "link",
    "math",     "cargo",       "hpack",       "rustc",        "clang",      "compile",
    "collect2", "cargo-watch", "debugserver", "jspawnhelper", "bazel-real",
};

class Page {
 public:
  Page() : bytes_(sizeof(Settings)) {}

  Section add(const void* data, std::size_t size) {
    bytes_.resize((bytes_.size() + 7) & ~std::size_t{7});
    const Section section{static_cast<uint32_t>(bytes_.size()), static_cast<uint32_t>(size)};
    const auto* begin = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), begin, begin + size);
    return section;
  }
  Section add(std::string_view text) { return add(text.data(), text.size()); }
  template <class T>
  Section add(const std::vector<T>& items) {
    return add(items.data(), items.size() * sizeof(T));
  }
  Section add_texts(const std::vector<std::string>& texts) {
    std::string joined;
    for (const std::string& text : texts)
      joined.append(text).push_back('\0');
    return add(joined);
  }

  std::vector<std::byte> finish(Settings settings) {
    settings.magic = local::kSettingsMagic;
    settings.version = local::kVersion;
    settings.size = static_cast<uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &settings, sizeof settings);
    return std::move(bytes_);
  }

 private:
  std::vector<std::byte> bytes_;
};

uint32_t flags_of(const ResolvedConfig& config) {
  const NetworkRules& network = config.network;
  uint32_t flags = 0;
  const auto set = [&](bool is_set, local::SettingsFlags flag) {
    if (is_set)
      flags |= flag;
  };
  set(config.files.mode != FileMode::kLocal, local::kFilesEnabled);
  set(network.dns, local::kDnsEnabled);
  set(network.outgoing_tcp, local::kOutgoingTcp);
  set(network.outgoing_udp, local::kOutgoingUdp);
  set(network.ignore_localhost, local::kIgnoreLocalhost);
  set(network.ipv6, local::kIpv6);
  set(config.remote_hostname, local::kRemoteHostname);
  set(config.tcp_ping4_mock, local::kTcpPing4Mock);
  set(network.outgoing_filter.side == FilterSide::kRemote, local::kOutgoingFilterRemote);
  set(network.dns_filter.side == FilterSide::kRemote, local::kDnsFilterRemote);
  set(config.hide_ipv6_interfaces, local::kHideIpv6Interfaces);
  set(config.guard_std_fds, local::kGuardStdFds);
  set(!network.unix_streams.empty(), local::kUnixStreams);
  set(config.turbo, local::kTurbo);
  set(takes_incoming(config), local::kIncoming);
  set(network.incoming.ignore_localhost, local::kIncomingIgnoreLocalhost);
  set(network.incoming.ports.has_value(), local::kIncomingPortsOnly);
  return flags;
}

std::vector<local::PortPair> pair_table(const std::vector<PortPair>& pairs) {
  std::vector<local::PortPair> table;
  for (const PortPair& pair : pairs)
    table.push_back({pair.program, pair.other});
  return table;
}

// An address of loopback that no other program is likely to connect from.
void choose_source(uint8_t (&address)[4]) {
  uint8_t random[3] = {};
  if (getrandom(random, sizeof random, 0) != sizeof random)
    random[0] = static_cast<uint8_t>(getpid());
  address[0] = 127;
  address[1] = static_cast<uint8_t>(64 + random[0] % 128);
  address[2] = random[1];
  address[3] = static_cast<uint8_t>(1 + random[2] % 254);
}

// Appends the rules' names to `names`.
Result<std::vector<local::FilterRule>> filter_table(const AddressFilter& filter,
                                                    FilterGrammar grammar, std::string& names) {
  std::vector<local::FilterRule> rules;
  for (const std::string& text : filter.entries) {
    MIRRORD_TRY(entry, parse_filter(text, grammar));
    if (entry.rule.kind == local::FilterKind::kName) {
      entry.rule.name = static_cast<uint32_t>(names.size());
      names.append(entry.name).push_back('\0');
    }
    rules.push_back(entry.rule);
  }
  // "remote": [] makes everything local; a table without rules would mean "no filter".
  if (filter.side == FilterSide::kRemote && rules.empty()) {
    local::FilterRule never{};
    never.kind = local::FilterKind::kSubnet;
    never.family = AF_INET;
    never.prefix_length = 32;
    never.port = 1;
    std::memset(never.address, 0xFF, 4);
    rules.push_back(never);
  }
  return rules;
}

bool has_names(const std::vector<local::FilterRule>& rules) {
  for (const local::FilterRule& rule : rules) {
    if (rule.kind == local::FilterKind::kName)
      return true;
  }
  return false;
}

Result<std::vector<std::byte>> unix_automaton(const NetworkRules& network) {
  std::vector<PathRule> rules;
  for (const std::string& pattern : network.unix_streams)
    rules.push_back({pattern, RuleGroup::kReadWrite});
  return compile_paths(rules, FileMode::kLocalWithOverrides, LetterCase::kExact);
}

}  // namespace

bool takes_incoming(const ResolvedConfig& config) {
  return config.network.incoming.mode != IncomingMode::kOff &&
         config.target.kind != TargetKind::kTargetless;
}

std::vector<std::string> skipped_processes(const ResolvedConfig& config) {
  std::vector<std::string> names = config.skip_processes;
  if (config.skip_build_tools) {
    names.insert(names.end(), std::begin(kBuildTools), std::end(kBuildTools));
    names.insert(names.end(), config.skip_extra_build_tools.begin(),
                 config.skip_extra_build_tools.end());
  }
  return names;
}

std::vector<local::PortRange> parse_port_ranges(std::string_view text) {
  std::vector<local::PortRange> ranges;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    std::string_view item = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    while (!item.empty() && item.front() == ' ')
      item.remove_prefix(1);
    while (!item.empty() && item.back() == ' ')
      item.remove_suffix(1);
    const std::size_t dash = item.find('-');
    uint64_t first = 0;
    uint64_t last = 0;
    if (!parse_unsigned(item.substr(0, dash), 65535, first))
      continue;
    if (dash == std::string_view::npos)
      last = first;
    else if (!parse_unsigned(item.substr(dash + 1), 65535, last))
      continue;
    if (first <= last)
      ranges.push_back({static_cast<uint16_t>(first), static_cast<uint16_t>(last)});
  }
  return ranges;
}

Result<std::vector<std::byte>> build_settings(const ResolvedConfig& config,
                                              const SettingsInput& input) {
  const std::vector<PathRule> rules = path_rules(config.files, input.paths);
  MIRRORD_TRY(paths, compile_paths(rules, config.files.mode, LetterCase::kFold));
  MIRRORD_TRY(sockets, unix_automaton(config.network));
  std::string names;
  MIRRORD_TRY(outgoing,
              filter_table(config.network.outgoing_filter, FilterGrammar::kOutgoing, names));
  MIRRORD_TRY(dns, filter_table(config.network.dns_filter, FilterGrammar::kDns, names));

  Page page;
  Settings settings{};
  settings.flags = flags_of(config);
  if (has_names(outgoing))
    settings.flags |= local::kFilterNeedsNames;
  if (input.logs_decisions)
    settings.flags |= local::kLogDecisions;
  if (input.keeps_own_files)
    settings.flags |= local::kOwnFilesLocal;
  settings.connect_grace_ms = config.connect_grace_ms;
  settings.socket_path = page.add(input.session_directory + "/" + local::kSocketFile);
  settings.session_directory = page.add(input.session_directory);
  settings.hook_path = page.add(input.hook_path);
  settings.path_automaton = page.add(paths);
  settings.unix_automaton = page.add(sockets);
  settings.outgoing_filter = page.add(outgoing);
  settings.dns_filter = page.add(dns);
  settings.filter_names = page.add(names);
  settings.skip_processes = page.add_texts(skipped_processes(config));
  settings.ignored_ports = page.add(parse_port_ranges(input.ignored_ports));
  settings.environment = page.add_texts(input.environment);
  settings.unset = page.add_texts(config.environment.unset);
  const IncomingRules& incoming = config.network.incoming;
  settings.incoming_ports = page.add(incoming.ports.value_or(std::vector<uint16_t>()));
  settings.incoming_ignored = page.add(incoming.ignore_ports);
  settings.port_mapping = page.add(pair_table(incoming.port_mapping));
  settings.listen_ports = page.add(pair_table(incoming.listen_ports));
  choose_source(settings.incoming_source);
  return page.finish(settings);
}

Status write_settings(const std::string& directory, const std::vector<std::byte>& bytes) {
  const std::string path = directory + "/" + local::kSettingsFile;
  const std::string tried = "writing the session's settings `" + path + "`";
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file)
    return fail_system(tried, errno);
  std::span<const std::byte> rest(bytes);
  while (!rest.empty()) {
    const ssize_t count = ::write(file.get(), rest.data(), rest.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return fail_system(tried, errno, errno == ENOSPC ? "Free some space and try again." : "");
    rest = rest.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

}  // namespace mirrord::config
