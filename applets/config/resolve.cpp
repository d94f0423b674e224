// applets/config/resolve.cpp — one function per part of the configuration.
#include "applets/config/resolve.h"

#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <cctype>

#include "applets/config/filters.h"
#include "applets/config/message.h"
#include "applets/config/pattern.h"
#include "applets/config/target.h"

namespace mirrord::config {
namespace {

std::string label_text(const Node& labels) {
  std::string text;
  for (const Node::Member& label : labels.members)
    text += (text.empty() ? "" : ",") + label.key + "=" + label.value.text;
  return "label/" + text;
}

// A target object as the text of the same target; empty: none is named.
std::string target_object_text(const Node& node, Values& values) {
  const std::string place = &node == values.node("target") ? "target." : "target.path.";
  std::string text;
  for (const k8s::KindInfo& kind : k8s::target_kinds()) {
    const Node* name = node.set_member(kind.object_key);
    if (name == nullptr)
      continue;
    if (!text.empty())
      values.error_at(*name, place + std::string(kind.object_key),
                      "a second target beside `" + text + "`", "Keep one of them.");
    text = std::string(kind.word) + "/" + name->text;
  }
  if (const Node* labels = node.set_member("labels"); labels != nullptr) {
    if (!text.empty())
      values.error_at(*labels, place + "labels", "a second target beside `" + text + "`",
                      "Keep one of them.");
    else if (labels->members.empty())
      values.error_at(*labels, place + "labels", "has no label", "Write {\"app\": \"shop\"}.");
    else
      text = label_text(*labels);
  }
  const Node* container = node.set_member("container");
  if (container != nullptr && text.empty())
    values.error_at(*container, place + "container", "names a container of no target",
                    "Add a key such as \"pod\": \"NAME\" beside it.");
  return container != nullptr && !text.empty() ? text + "/container/" + container->text : text;
}

// Where the file names the target; null: nowhere.
const Node* target_node(Values& values) {
  const Node* node = values.node("target");
  if (node == nullptr || node->type != Node::Type::kObject)
    return node;
  const Node* path = values.node("target.path");
  return path != nullptr ? path : node;
}

// A target beside its path, which would not count.
void check_target_path(Values& values) {
  const Node* node = values.node("target");
  if (node == nullptr || values.node("target.path") == nullptr)
    return;
  for (const Node::Member& member : node->members) {
    if (member.key != "path" && member.key != "namespace" && member.value.type != Node::Type::kNull)
      values.error_at(member.value, "target." + member.key, "a second target beside `target.path`",
                      "Keep one of them; a container stands below `target.path`.");
  }
}

std::string target_text(Values& values) {
  check_target_path(values);
  if (const auto given = values.outside("target.path"))
    return given->text;
  const Node* node = target_node(values);
  if (node == nullptr)
    return {};
  if (node->type == Node::Type::kString) {
    if (node->text.empty())
      values.error_at(*node, node == values.node("target") ? "target" : "target.path", "is empty",
                      "Remove it to run without a target.");
    return node->text;
  }
  return node->type == Node::Type::kObject ? target_object_text(*node, values) : "";
}

bool is_host_and_port(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  uint64_t port = 0;
  return colon != std::string_view::npos && colon > 0 &&
         parse_unsigned(text.substr(colon + 1), 65535, port) && port > 0;
}

Target resolve_target(Values& values) {
  Target target;
  if (const std::string text = target_text(values); !text.empty()) {
    auto parsed = parse_target(text);
    if (parsed)
      target = std::move(*parsed);
    else if (const Node* node = target_node(values);
             node == nullptr || values.outside("target.path"))
      values.error("target.path", parsed.error().what, parsed.error().hint);
    else
      values.error_at(*node, node == values.node("target") ? "target" : "target.path",
                      parsed.error().what, parsed.error().hint);
  }
  target.name_space = values.text("target.namespace");
  const std::string address = values.text("connect_tcp");
  if (address.empty())
    return target;
  if (!is_host_and_port(address))
    values.error("connect_tcp", "expected HOST:PORT, found `" + address + "`",
                 "Write for example 127.0.0.1:9000.");
  target.kind = TargetKind::kAddress;
  target.address = address;
  return target;
}

// An entry may hold several names, with semicolons between them.
std::vector<std::string> split_names(const std::vector<std::string>& entries) {
  std::vector<std::string> names;
  for (std::string_view rest : entries) {
    while (!rest.empty()) {
      const std::string_view name = rest.substr(0, rest.find(';'));
      if (!name.empty())
        names.emplace_back(name);
      rest.remove_prefix(std::min(name.size() + 1, rest.size()));
    }
  }
  return names;
}

EnvironmentRules resolve_environment(Values& values) {
  EnvironmentRules rules;
  rules.include = split_names(values.list("feature.env.include"));
  rules.exclude = split_names(values.list("feature.env.exclude"));
  rules.override_values = values.map("feature.env.override");
  rules.mapping = values.map("feature.env.mapping");
  rules.unset = values.list("feature.env.unset");
  rules.env_file = values.text("feature.env.env_file");
  rules.load_from_process = values.boolean("feature.env.load_from_process", Values::Above::kIgnore);
  const Node* short_form = values.node("feature.env");
  const bool is_off =
      short_form != nullptr && short_form->type == Node::Type::kBool && !short_form->boolean;
  if (is_off && rules.include.empty() && rules.exclude.empty())
    rules.exclude = {"*"};
  return rules;
}

constexpr std::pair<std::string_view, FileMode> kFileModes[] = {
    {"local", FileMode::kLocal},
    {"localwithoverrides", FileMode::kLocalWithOverrides},
    {"local-with-overrides", FileMode::kLocalWithOverrides},
    {"read", FileMode::kRead},
    {"write", FileMode::kWrite},
};

std::optional<FileMode> file_mode_word(std::string_view word) {
  for (const auto& [name, mode] : kFileModes) {
    if (name == word)
      return mode;
  }
  return std::nullopt;
}

FileMode resolve_file_mode(Values& values) {
  if (const auto given = values.outside("feature.fs.mode")) {
    const auto mode = file_mode_word(given->text);
    if (!mode)
      values.error("feature.fs.mode", "invalid file mode `" + given->text + "`",
                   "Use local, localwithoverrides, read or write.");
    return mode.value_or(FileMode::kRead);
  }
  // The old pair of variables.
  const auto all = values.outside_variable("MIRRORD_FILE_OPS");
  const auto reading = values.outside_variable("MIRRORD_FILE_RO_OPS");
  if (all && values.boolean_text(*all).value_or(false))
    return FileMode::kWrite;
  if (reading && values.boolean_text(*reading).value_or(false))
    return FileMode::kRead;
  if (all || reading)
    return FileMode::kLocal;

  const Node* node = values.node("feature.fs");
  if (node != nullptr && node->type == Node::Type::kBool)
    return node->boolean ? FileMode::kRead : FileMode::kLocal;
  if (node != nullptr && node->type == Node::Type::kString)
    return file_mode_word(node->text).value_or(FileMode::kRead);
  return file_mode_word(values.text("feature.fs.mode")).value_or(FileMode::kRead);
}

FileRules resolve_files(Values& values) {
  FileRules rules;
  rules.mode = resolve_file_mode(values);
  rules.chosen_mode = rules.mode;
  rules.read_write = values.list("feature.fs.read_write");
  rules.read_only = values.list("feature.fs.read_only");
  rules.local = values.list("feature.fs.local");
  rules.not_found = values.list("feature.fs.not_found");
  rules.mapping = values.map("feature.fs.mapping");
  rules.readonly_buffer = values.number("feature.fs.readonly_file_buffer");
  return rules;
}

AddressFilter resolve_filter(Values& values, const std::string& path) {
  const bool local = values.node(path + ".local") != nullptr;
  const bool remote = values.node(path + ".remote") != nullptr;
  const Node* filter = values.node(path);
  if (!local && !remote && filter != nullptr)
    values.error(path, "names neither `local` nor `remote`",
                 R"(Write {"local": […]} or {"remote": […]}, or remove it.)");
  if (local && remote)
    values.error(path, "has both `local` and `remote`", "Keep one of the two lists.");
  if (!local && !remote)
    return {};
  return {local ? FilterSide::kLocal : FilterSide::kRemote,
          values.list(path + (local ? ".local" : ".remote"))};
}

std::optional<IncomingMode> incoming_word(std::string_view word) {
  if (word == "steal" || word == "true")
    return IncomingMode::kSteal;
  if (word == "off" || word == "false")
    return IncomingMode::kOff;
  if (word == "mirror")
    return IncomingMode::kMirror;
  return std::nullopt;
}

// The mode, of whichever form it has.
void resolve_mode(Values& values, IncomingRules& rules) {
  constexpr std::string_view kMode = "feature.network.incoming.mode";
  if (const auto given = values.outside(kMode)) {
    const auto mode = incoming_word(given->text);
    if (!mode)
      values.error(kMode, "unknown mode `" + given->text + "`", "Use mirror, steal or off.");
    rules.mode = mode.value_or(IncomingMode::kMirror);
    rules.is_explicit = true;
    return;
  }
  const Node* node = values.node("feature.network.incoming");
  const Node* network = values.node("feature.network");
  if (node != nullptr && node->type == Node::Type::kObject)
    node = node->set_member("mode");
  if (node != nullptr) {
    rules.is_explicit = true;
    if (node->type == Node::Type::kString)
      rules.mode = incoming_word(node->text).value_or(IncomingMode::kMirror);
    else if (node->type == Node::Type::kBool)
      rules.mode = node->boolean ? IncomingMode::kMirror : IncomingMode::kOff;
  } else if (network != nullptr && network->type == Node::Type::kBool && !network->boolean) {
    rules.mode = IncomingMode::kOff;
  }
}

// Texts of numbers: the key's type has been checked.
uint16_t port_of(std::string_view text) {
  uint64_t port = 0;
  parse_unsigned(text, 65535, port);
  return static_cast<uint16_t>(port);
}

std::optional<std::vector<uint16_t>> resolve_ports(Values& values, std::string_view path) {
  if (values.node(path) == nullptr && !values.outside(path))
    return std::nullopt;
  std::vector<uint16_t> ports;
  for (const std::string& text : values.list(path))
    ports.push_back(port_of(text));
  return ports;
}

std::vector<PortPair> resolve_port_pairs(Values& values, std::string_view path) {
  std::vector<PortPair> pairs;
  const Node* node = values.node(path);
  if (node == nullptr)
    return pairs;
  for (const Node& pair : node->items) {
    if (pair.items.size() == 2)
      pairs.push_back({port_of(pair.items[0].text), port_of(pair.items[1].text)});
  }
  return pairs;
}

ConcurrentSteal resolve_concurrent_steal(Values& values) {
  constexpr std::string_view kPath = "feature.network.incoming.on_concurrent_steal";
  const std::string word = values.text(kPath);
  if (word == "override")
    return ConcurrentSteal::kOverride;
  if (word == "continue")
    return ConcurrentSteal::kContinue;
  if (word != "abort")
    values.error(kPath, "unknown policy `" + word + "`", "Use abort, override or continue.");
  return ConcurrentSteal::kAbort;
}

// A DNS name or an IP address.
bool is_server_name(const std::string& name) {
  uint8_t family = 0;
  uint8_t address[16];
  if (parse_address(name, family, address))
    return true;
  constexpr std::size_t kLongestName = 253;
  constexpr std::size_t kLongestLabel = 63;
  if (name.empty() || name.size() > kLongestName)
    return false;
  std::string_view rest = name.ends_with('.') ? std::string_view(name).substr(0, name.size() - 1)
                                              : std::string_view(name);
  while (true) {
    const std::string_view label = rest.substr(0, rest.find('.'));
    const bool is_good = std::ranges::all_of(
        label, [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; });
    if (label.empty() || label.size() > kLongestLabel || !is_good || label.front() == '-' ||
        label.back() == '-')
      return false;
    if (label.size() == rest.size())
      return true;
    rest.remove_prefix(label.size() + 1);
  }
}

std::optional<TlsDelivery> resolve_tls_delivery(Values& values) {
  std::string path = "feature.network.incoming.tls_delivery";
  if (values.node(path) == nullptr)
    path = "feature.network.incoming.https_delivery";
  if (values.node(path) == nullptr)
    return std::nullopt;
  TlsDelivery delivery;
  const std::string protocol = values.text(path + ".protocol");
  if (protocol.empty())
    values.error(path, "lacks `protocol`", R"(Write "protocol": "tls" or "tcp".)");
  delivery.uses_tls = protocol != "tcp";
  delivery.trust_roots = values.list(path + ".trust_roots");
  delivery.server_cert = values.text(path + ".server_cert");
  delivery.server_name = values.text(path + ".server_name");
  if (values.node(path + ".server_name") != nullptr && !is_server_name(delivery.server_name))
    values.error(path + ".server_name",
                 "`" + quotable(delivery.server_name) + "` is no name of a server",
                 "Write a DNS name such as shop.example, or an IP address.");
  return delivery;
}

IncomingRules resolve_incoming(Values& values) {
  IncomingRules rules;
  resolve_mode(values, rules);
  rules.port_mapping = resolve_port_pairs(values, "feature.network.incoming.port_mapping");
  rules.listen_ports = resolve_port_pairs(values, "feature.network.incoming.listen_ports");
  rules.ignore_ports =
      resolve_ports(values, "feature.network.incoming.ignore_ports").value_or(rules.ignore_ports);
  rules.ports = resolve_ports(values, "feature.network.incoming.ports");
  rules.ignore_localhost =
      values.boolean("feature.network.incoming.ignore_localhost", Values::Above::kIgnore);
  rules.on_concurrent_steal = resolve_concurrent_steal(values);
  rules.tls_delivery = resolve_tls_delivery(values);
  rules.http_filter = resolve_http_filter(values);
  rules.http_filter_ports = resolve_ports(values, "feature.network.incoming.http_filter.ports");
  return rules;
}

NetworkRules resolve_network(Values& values) {
  NetworkRules rules;
  rules.incoming = resolve_incoming(values);
  rules.outgoing_tcp = values.boolean("feature.network.outgoing.tcp");
  rules.outgoing_udp = values.boolean("feature.network.outgoing.udp");
  rules.ignore_localhost =
      values.boolean("feature.network.outgoing.ignore_localhost", Values::Above::kIgnore);
  rules.outgoing_filter = resolve_filter(values, "feature.network.outgoing.filter");
  rules.unix_streams = values.list("feature.network.outgoing.unix_streams");
  rules.dns = values.boolean("feature.network.dns.enabled");
  rules.dns_filter = resolve_filter(values, "feature.network.dns.filter");
  rules.ipv6 = values.boolean("feature.network.ipv6", Values::Above::kIgnore);
  return rules;
}

AgentOptions resolve_agent(Values& values) {
  AgentOptions agent;
  agent.log_level = values.text("agent.log_level");
  agent.json_log = values.boolean("agent.json_log");
  agent.startup_timeout_seconds =
      static_cast<uint32_t>(std::min<uint64_t>(values.number("agent.startup_timeout"), UINT32_MAX));
  if (const auto seconds = values.maybe_number("agent.communication_timeout"))
    agent.communication_timeout_seconds = static_cast<uint32_t>(*seconds);
  if (const auto seconds = values.maybe_number("agent.dns.timeout"))
    agent.dns_timeout_seconds = static_cast<uint32_t>(*seconds);
  if (const auto attempts = values.maybe_number("agent.dns.attempts"))
    agent.dns_attempts = static_cast<uint32_t>(*attempts);
  return agent;
}

// A directory gets a generated name below it.
std::string resolve_log_file(Values& values) {
  constexpr std::string_view kPath = "internal_proxy.log_destination";
  std::string path = values.node(kPath) != nullptr ? values.text(kPath) : "";
  if (path.empty())
    return path;
  struct stat info {};
  const bool exists = stat(path.c_str(), &info) == 0;
  const bool is_directory = exists && S_ISDIR(info.st_mode);
  if (path.ends_with('/') && exists && !is_directory)
    values.error(kPath, "`" + path + "` is a file, not a directory");
  if (!is_directory && !path.ends_with('/'))
    return path;
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return path + (path.ends_with('/') ? "" : "/") + "mirrord-intproxy-" +
         std::to_string(now.tv_sec) + "-" + std::to_string(now.tv_nsec / 1000) + ".log";
}

ProxyOptions resolve_proxy(Values& values) {
  ProxyOptions proxy;
  proxy.start_idle_timeout_seconds = values.number("internal_proxy.start_idle_timeout");
  proxy.idle_timeout_seconds = values.number("internal_proxy.idle_timeout");
  proxy.reconnect_timeout_seconds = values.number("internal_proxy.reconnect_timeout");
  proxy.ping_interval_seconds =
      std::max<uint64_t>(values.number("internal_proxy.ping_interval"), 1);
  proxy.log_level = values.text("internal_proxy.log_level");
  proxy.log_destination = resolve_log_file(values);
  proxy.json_log = values.boolean("internal_proxy.json_log");
  return proxy;
}

// Credentials of this machine's user would be taken for the target's, and the other way round.
void apply_aws(ResolvedConfig& config, const Environment& environment) {
  config.environment.unset.emplace_back("AWS_PROFILE");
  const auto home = environment("HOME");
  if (!home || home->empty())
    return;
  const std::string pattern = "^" + quote_pattern(*home) + "/\\.aws(/.*)?";
  if (std::ranges::find(config.files.mapping, pattern, &StringPairs::value_type::first) ==
      config.files.mapping.end())
    config.files.mapping.emplace_back(pattern, environment("TMPDIR").value_or("/tmp") + "/.aws$1");
}

// Names that an outgoing filter lists must be looked up on the side they are connected from.
void reflect_names(ResolvedConfig& config) {
  NetworkRules& network = config.network;
  if (!network.dns || network.outgoing_filter.side == FilterSide::kNone)
    return;
  AddressFilter& dns = network.dns_filter;
  const FilterSide side = network.outgoing_filter.side;
  for (const std::string& text : network.outgoing_filter.entries) {
    const auto entry = parse_filter(text, FilterGrammar::kOutgoing);
    if (!entry || entry->rule.kind != local::FilterKind::kName)
      continue;
    std::string name = entry->name;
    if (entry->rule.port != 0)
      name += ":" + std::to_string(entry->rule.port);
    const bool is_listed = std::ranges::find(dns.entries, name) != dns.entries.end();
    if (dns.side == FilterSide::kNone && side == FilterSide::kLocal)
      dns.side = FilterSide::kLocal;
    if (dns.side == side && !is_listed)
      dns.entries.push_back(std::move(name));
    else if (dns.side != side && is_listed)
      config.warnings.push_back("`" + name +
                                "` is remote in one of feature.network.outgoing.filter "
                                "and feature.network.dns.filter and local in the other");
  }
}

}  // namespace

ResolvedConfig resolve(Values& values, const Environment& environment) {
  ResolvedConfig config;
  config.target = resolve_target(values);
  config.environment = resolve_environment(values);
  config.files = resolve_files(values);
  config.network = resolve_network(values);
  config.agent = resolve_agent(values);
  config.agent_pod = resolve_agent_settings(values);
  config.cluster = resolve_cluster(values, environment);
  config.proxy = resolve_proxy(values);
  if (values.node("ci.output_dir") != nullptr)
    config.ci.output_directory = values.text("ci.output_dir");
  config.container = {.cli_image = values.text("container.cli_image"),
                      .cli_extra_args = values.list("container.cli_extra_args"),
                      .keeps_sidecar = values.boolean("container.cli_prevent_cleanup"),
                      .platform = values.text("container.platform")};
  if (values.node("feature.copy_target") != nullptr) {
    config.copy_target.is_on = values.boolean("feature.copy_target.enabled");
    config.copy_target.scales_down =
        values.boolean("feature.copy_target.scale_down", Values::Above::kIgnore);
  }
  resolve_local_redis(config, values);
  config.remote_hostname = values.boolean("feature.hostname");
  config.turbo = values.boolean("feature.magic.turbo");
  config.use_proxy = values.boolean("use_proxy");
  config.tcp_ping4_mock = values.boolean("experimental.tcp_ping4_mock");
  config.hide_ipv6_interfaces = values.boolean("experimental.hide_ipv6_interfaces");
  config.enable_exec_hooks = values.boolean("experimental.enable_exec_hooks_linux");
  config.guard_std_fds = values.maybe_boolean("experimental.guard_std_fds").value_or(true);
  config.skip_build_tools = values.boolean("skip_build_tools");
  config.skip_extra_build_tools = values.list("skip_extra_build_tools");
  config.skip_processes = values.list("skip_processes");
  if (values.boolean("feature.magic.aws"))
    apply_aws(config, environment);
  reflect_names(config);
  if (config.target.kind == TargetKind::kTargetless && !config.target.is_explicit &&
      config.files.mode != FileMode::kLocal)
    config.files.mode = FileMode::kLocalWithOverrides;
  return config;
}

}  // namespace mirrord::config
