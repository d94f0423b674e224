// applets/config/verify.cpp — conflicts between keys, and patterns and filters that do not parse.
#include <algorithm>
#include <array>

#include "applets/config/filters.h"
#include "applets/config/path_mapping.h"
#include "applets/config/pattern.h"
#include "applets/config/resolve.h"

namespace mirrord::config {
namespace {

constexpr uint64_t kMebibyte = 1024 * 1024;

void check_patterns(std::string_view path, const std::vector<std::string>& patterns,
                    Values& values) {
  for (const std::string& pattern : patterns) {
    if (auto status = check_pattern(pattern); !status)
      values.error_of(path, pattern, status.error().what, status.error().hint);
  }
}

void check_files(const ResolvedConfig& config, Values& values, std::vector<std::string>& warnings) {
  const FileRules& files = config.files;
  check_patterns("feature.fs.read_write", files.read_write, values);
  check_patterns("feature.fs.read_only", files.read_only, values);
  check_patterns("feature.fs.local", files.local, values);
  check_patterns("feature.fs.not_found", files.not_found, values);
  for (const auto& rule : files.mapping) {
    if (!check_pattern(rule.first))
      check_patterns("feature.fs.mapping", {rule.first}, values);
    else if (auto mapping = PathMapping::create({rule}); !mapping)
      values.error_of("feature.fs.mapping", rule.first, mapping.error().what, mapping.error().hint);
  }
  if (files.readonly_buffer > 15 * kMebibyte)
    values.error("feature.fs.readonly_file_buffer", "must not be above 15 MiB",
                 "Use a value up to 15728640; 0 switches it off.");
  else if (files.readonly_buffer > kMebibyte)
    warnings.push_back(
        "feature.fs.readonly_file_buffer is above 1 MiB: each open of a large "
        "file fetches that much");
}

void check_environment(const ResolvedConfig& config, Values& values) {
  const EnvironmentRules& rules = config.environment;
  if (!rules.include.empty() && !rules.exclude.empty())
    values.error("feature.env.include", "conflicts with `feature.env.exclude`",
                 "Keep one of the two.");
  for (const auto& [pattern, value] : rules.mapping) {
    if (auto compiled = NamePattern::create(pattern); !compiled)
      values.error_of("feature.env.mapping", pattern, compiled.error().what, compiled.error().hint);
  }
}

void check_filter(std::string_view path, const AddressFilter& filter, FilterGrammar grammar,
                  Values& values) {
  const std::string list =
      std::string(path) + (filter.side == FilterSide::kLocal ? ".local" : ".remote");
  for (const std::string& entry : filter.entries) {
    if (auto parsed = parse_filter(entry, grammar); !parsed)
      values.error_of(list, entry, parsed.error().what, parsed.error().hint);
  }
}

void check_network(const ResolvedConfig& config, Values& values,
                   std::vector<std::string>& warnings) {
  const NetworkRules& network = config.network;
  check_filter("feature.network.outgoing.filter", network.outgoing_filter, FilterGrammar::kOutgoing,
               values);
  check_filter("feature.network.dns.filter", network.dns_filter, FilterGrammar::kDns, values);
  check_patterns("feature.network.outgoing.unix_streams", network.unix_streams, values);
  if (network.outgoing_filter.side == FilterSide::kRemote && !network.dns)
    warnings.push_back(
        "feature.network.outgoing.filter.remote with DNS switched off: names in it "
        "are looked up on this machine");
  if (values.node("feature.network.dns.filter") != nullptr && !network.dns)
    warnings.push_back("feature.network.dns.filter has no effect: DNS is switched off");
  if (network.dns_filter.side != FilterSide::kNone && network.dns_filter.entries.empty())
    warnings.push_back(network.dns_filter.side == FilterSide::kLocal
                           ? "feature.network.dns.filter.local is empty: all names are remote"
                           : "feature.network.dns.filter.remote is empty: all names are local");
}

// `sides` are the names of a pair's two ports.
void check_port_pairs(std::string_view path, const std::array<std::string, 2>& sides,
                      Values& values, std::vector<std::string>* warnings) {
  const Node* node = values.node(path);
  if (node == nullptr)
    return;
  std::array<std::vector<std::string>, 2> seen;
  for (const Node& pair : node->items) {
    if (pair.items.size() != 2)
      continue;
    for (std::size_t side = 0; side < 2; ++side) {
      const std::string& port = pair.items[side].text;
      if (std::ranges::find(seen[side], port) != seen[side].end())
        values.error_at(pair.items[side], path,
                        "the " + sides[side] + " port " + port + " stands here a second time",
                        "Each port may stand in one pair only.");
      seen[side].push_back(port);
    }
    if (warnings != nullptr && pair.items[0].text == pair.items[1].text)
      warnings->push_back(std::string(path) + ": the pair of " + pair.items[0].text +
                          " with itself has no effect");
  }
}

void check_delivery(const std::string& path, Values& values) {
  const Node* roots = values.node(path + ".trust_roots");
  if (roots == nullptr || values.text(path + ".protocol") == "tcp")
    return;
  if (roots->items.empty())
    values.error(path + ".trust_roots", "must not be empty",
                 "Remove it to accept any certificate, or name files or directories.");
  if (values.node(path + ".server_cert") != nullptr)
    values.error(path + ".trust_roots", "conflicts with `" + path + ".server_cert`",
                 "Keep one of the two.");
}

void check_incoming(Values& values, std::vector<std::string>& warnings) {
  const Node* ignored = values.node("feature.network.incoming.ignore_ports");
  if (ignored != nullptr && !ignored->items.empty() &&
      values.node("feature.network.incoming.ports") != nullptr)
    values.error("feature.network.incoming.ignore_ports",
                 "conflicts with `feature.network.incoming.ports`", "Keep one of the two.");
  if (values.node("feature.network.incoming.https_delivery") != nullptr &&
      values.node("feature.network.incoming.tls_delivery") != nullptr)
    values.error("feature.network.incoming.https_delivery",
                 "conflicts with `feature.network.incoming.tls_delivery`", "Keep the latter.");
  for (const std::string path :
       {"feature.network.incoming.tls_delivery", "feature.network.incoming.https_delivery"})
    check_delivery(path, values);
  if (values.node("feature.network.incoming.https_delivery") != nullptr)
    warnings.push_back(
        "feature.network.incoming.https_delivery is the old name of "
        "feature.network.incoming.tls_delivery");
  check_port_pairs("feature.network.incoming.port_mapping", {"local", "remote"}, values, &warnings);
  check_port_pairs("feature.network.incoming.listen_ports", {"first", "second"}, values, nullptr);
}

// What is written there and nobody acts on.
void warn_of_no_effect(const ResolvedConfig& config, Values& values,
                       std::vector<std::string>& warnings) {
  for (const Key& key : all_keys()) {
    if ((key.marks & (kOperator | kDeprecated)) == 0 || key.path.starts_with("target.") ||
        key.path.starts_with("feature.network.incoming.https_delivery") ||
        key.path.find_first_of("[{") != std::string_view::npos || values.node(key.path) == nullptr)
      continue;
    const Node& node = *values.node(key.path);
    if ((key.marks & kOperator) != 0 && node.type == Node::Type::kBool && !node.boolean)
      continue;  // switched off, as it is anyway
    const bool has_local_parts = key.path == "feature.db_branches" && !config.local_redis.empty();
    if (has_local_parts && config.local_redis.size() == node.items.size())
      continue;
    const std::string_view parent = key.path.substr(0, key.path.rfind('.'));
    if (const Key* above = find_key(parent);
        parent != key.path && above != nullptr && above->marks == key.marks)
      continue;  // said once, for the object
    warnings.push_back(std::string(key.path) +
                       ((key.marks & kOperator) == 0 ? " is deprecated and has no effect"
                        : has_local_parts ? " needs the operator for all but its local Redis"
                                          : " needs the operator and has no effect"));
  }
}

void check_rest(Values& values) {
  const uint64_t longest = values.number("startup_retry.max_ms");
  if (longest == 0)
    values.error("startup_retry.max_ms", "must be above 0",
                 "Set `startup_retry.max_retries` to 0 for no retries.");
  else if (const uint64_t shortest = values.number("startup_retry.min_ms");
           shortest > longest && values.node("startup_retry.min_ms") == nullptr)
    values.error("startup_retry.max_ms",
                 std::to_string(longest) + " is below `startup_retry.min_ms`, which is " +
                     std::to_string(shortest) + " unless you set it",
                 "Set that one too, or raise this one.");
  else if (shortest > longest)
    values.error("startup_retry.min_ms",
                 std::to_string(shortest) + " is above `startup_retry.max_ms`, which is " +
                     std::to_string(longest),
                 "Swap them, or remove one.");
  if (values.maybe_boolean("operator").value_or(false))
    values.error("operator", "this version has no support for the operator",
                 "Remove the key or set it to false.");
}

void check_targetless(const ResolvedConfig& config, Values& values) {
  const bool has_mode = values.outside("feature.network.incoming.mode") ||
                        values.node("feature.network.incoming.mode") != nullptr;
  if (config.network.incoming.mode == IncomingMode::kSteal)
    values.error(has_mode ? "feature.network.incoming.mode" : "feature.network.incoming",
                 "cannot steal traffic without a target", "Name a target, or set the mode to off.");
  if (values.boolean("agent.ephemeral"))
    values.error("agent.ephemeral", "needs a target", "Name a target, or switch it off.");
}

void check_agent(const ResolvedConfig& config, Values& values, std::vector<std::string>& warnings) {
  const k8s::AgentSettings& agent = config.agent_pod;
  const bool is_targetless = config.target.kind == TargetKind::kTargetless;
  if (agent.ephemeral && agent.bare_pod)
    values.error("agent.bare_pod", "conflicts with `agent.ephemeral`", "Keep one of the two.");
  if (!agent.name_space.empty() &&
      (agent.ephemeral || (is_targetless && config.target.is_explicit)))
    warnings.push_back(std::string("agent.namespace has no effect ") +
                       (agent.ephemeral ? "with agent.ephemeral: the agent goes to the target's pod"
                                        : "without a target: target.namespace decides"));
}

// What a copy of the target, and a target of labels, cannot go with.
void check_copies(const ResolvedConfig& config, Values& values) {
  constexpr std::string_view kCopy = "feature.copy_target";
  const Target& target = config.target;
  const bool is_in_cluster = target.kind == TargetKind::kKubernetes;
  if (config.copy_target.is_on) {
    if (!values.maybe_boolean("operator").value_or(true))
      values.error(kCopy, "needs the operator, which `operator` switches off",
                   "Keep one of the two.");
    if (target.kind == TargetKind::kTargetless && target.is_explicit)
      values.error(kCopy, "needs a target", "Name a target, or remove it.");
    if (is_in_cluster && target.path.kind == k8s::TargetKind::kService)
      values.error(kCopy, "cannot copy a service", "Name what is behind it, such as a deployment.");
  }
  if (!is_in_cluster || target.path.labels.empty())
    return;
  constexpr std::string_view kHint = "Name one pod or what it belongs to, or remove it.";
  if (config.copy_target.is_on)
    values.error(kCopy, "conflicts with a target of labels", std::string(kHint));
  if (values.maybe_boolean("multi_cluster").value_or(false))
    values.error("multi_cluster", "conflicts with a target of labels", std::string(kHint));
  for (const std::string_view path : {"feature.split_queues", "feature.db_branches"}) {
    const Node* node = values.node(path);
    if (node != nullptr && !(node->items.empty() && node->members.empty()))
      values.error(path, "conflicts with a target of labels", std::string(kHint));
  }
}

}  // namespace

void verify(ResolvedConfig& config, Values& values, bool is_target_final) {
  check_environment(config, values);
  check_files(config, values, config.warnings);
  check_network(config, values, config.warnings);
  check_incoming(values, config.warnings);
  check_rest(values);
  warn_of_no_effect(config, values, config.warnings);
  check_agent(config, values, config.warnings);
  check_copies(config, values);
  verify_for_operator(values);
  if (values.has_errors())
    return;  // a wrong target is no absent one
  if (config.target.kind == TargetKind::kTargetless &&
      (is_target_final || config.target.is_explicit))
    check_targetless(config, values);
}

}  // namespace mirrord::config
