// applets/config/resolved_json.cpp — walks the table of keys as a tree and writes each one's value.
#include "applets/config/resolved_json.h"

#include <algorithm>
#include <map>
#include <optional>

#include "applets/config/node_json.h"
#include "applets/config/target.h"
#include "applets/json_text.h"

namespace mirrord::config {
namespace {

// Objects that are null unless the file has them.
constexpr std::string_view kOptional[] = {
    "agent.security_context",
    "agent.security_context.app_armor_profile",
    "agent.security_context.seccomp_profile",
    "experimental.applev",
    "feature.network.dns.filter",
    "feature.network.incoming.http_filter.body_filter",
    "feature.network.incoming.https_delivery",
    "feature.network.incoming.tls_delivery",
    "feature.network.outgoing.filter",
};
// Lists that are empty, and no null, unless they are set.
constexpr std::string_view kLists[] = {
    "container.cli_extra_args",
    "feature.copy_target.exclude_containers",
    "feature.copy_target.exclude_init_containers",
    "feature.db_branches",
    "feature.network.incoming.ignore_ports",
    "feature.network.incoming.listen_ports",
    "feature.network.incoming.port_mapping",
    "feature.preview.config_mounts",
    "feature.preview.secret_mounts",
};

bool is_listed(std::span<const std::string_view> paths, std::string_view path) {
  return std::ranges::find(paths, path) != paths.end();
}

std::string truth(bool value) {
  return value ? "true" : "false";
}

std::string map_json(const StringPairs& pairs) {
  std::string out;
  for (const auto& [name, value] : pairs)
    out += (out.empty() ? "" : ",") + json_quoted(name) + ":" + json_quoted(value);
  return "{" + out + "}";
}

std::string filter_json(const AddressFilter& filter) {
  if (filter.side == FilterSide::kNone)
    return "null";
  return std::string(filter.side == FilterSide::kLocal ? "{\"local\":" : "{\"remote\":") +
         json_list(filter.entries) + "}";
}

std::string_view mode_word(FileMode mode) {
  switch (mode) {
    case FileMode::kLocal:
      return "local";
    case FileMode::kLocalWithOverrides:
      return "localwithoverrides";
    case FileMode::kRead:
      return "read";
    case FileMode::kWrite:
      return "write";
  }
  return "";
}

std::string_view mode_word(IncomingMode mode) {
  switch (mode) {
    case IncomingMode::kMirror:
      return "mirror";
    case IncomingMode::kSteal:
      return "steal";
    case IncomingMode::kOff:
      return "off";
  }
  return "";
}

// Without what is absent, unlike all other objects.
std::string target_object(const Target& target) {
  std::string out;
  if (const std::string path = target_json(target); path != "null")
    out = "\"path\":" + path;
  if (!target.name_space.empty())
    out +=
        (out.empty() ? "" : ",") + std::string("\"namespace\":") + json_quoted(target.name_space);
  return "{" + out + "}";
}

std::string text_or_null(const std::string& text) {
  return text.empty() ? "null" : json_quoted(text);
}

// What is more than the value that stands in the file or the table.
std::map<std::string_view, std::string> computed(const ResolvedConfig& config) {
  const NetworkRules& network = config.network;
  std::map<std::string_view, std::string> out = {
      {"agent.image", json_quoted(config.agent_pod.image)},
      {"feature.copy_target.enabled", truth(config.copy_target.is_on)},
      {"feature.copy_target.scale_down", truth(config.copy_target.scales_down)},
      {"feature.env.unset", json_list(config.environment.unset)},
      {"feature.fs.mapping", map_json(config.files.mapping)},
      {"feature.fs.mode", json_quoted(mode_word(config.files.chosen_mode))},
      {"feature.network.dns.enabled", truth(network.dns)},
      {"feature.network.dns.filter", filter_json(network.dns_filter)},
      {"feature.network.incoming.ignore_localhost", truth(network.incoming.ignore_localhost)},
      {"feature.network.incoming.mode", json_quoted(mode_word(network.incoming.mode))},
      {"feature.network.ipv6", truth(network.ipv6)},
      {"feature.network.outgoing.filter", filter_json(network.outgoing_filter)},
      {"feature.network.outgoing.ignore_localhost", truth(network.ignore_localhost)},
      {"feature.network.outgoing.tcp", truth(network.outgoing_tcp)},
      {"feature.network.outgoing.udp", truth(network.outgoing_udp)},
      {"internal_proxy.log_destination", text_or_null(config.proxy.log_destination)},
      {"key", json_quoted(config.key)},
      {"target", target_object(config.target)},
      // A file in the directory of a session, which has no name yet.
      {"external_proxy.log_destination", "null"},
  };
  if (config.environment.exclude == std::vector<std::string>{"*"})
    out.emplace("feature.env.exclude", "[\"*\"]");  // the short form `false`
  return out;
}

class Writer {
 public:
  Writer(const ResolvedConfig& config, Values& values, const Environment& environment)
      : values_(values), environment_(environment), computed_(computed(config)) {}

  // The keys right below `parent`; all of them stand together in the table.
  std::string object(std::string_view parent) {
    std::string out;
    const std::string prefix = parent.empty() ? "" : std::string(parent) + ".";
    for (const Key& key : all_keys()) {
      if (!key.path.starts_with(prefix))
        continue;
      const std::string_view name = key.path.substr(prefix.size());
      if (name.empty() || name.find_first_of(".[{") != std::string_view::npos)
        continue;
      out += (out.empty() ? "" : ",") + json_quoted(name) + ":" + value(key);
    }
    return "{" + out + "}";
  }

 private:
  std::string value(const Key& key) {
    if (const auto found = computed_.find(key.path); found != computed_.end())
      return found->second;
    const Node* node = values_.node(key.path);
    const bool is_object = node != nullptr && node->type == Node::Type::kObject;
    const bool is_free = (key.marks & kFree) != 0;
    if (is_listed(kOptional, key.path) && !is_object)
      return "null";
    if (key.path == "feature.split_queues" && node == nullptr)
      return "{}";
    const bool is_map = find_key(std::string(key.path) + ".{}") != nullptr;
    if (has_children(key.path) && !is_map && !is_free)
      return object(key.path);
    return leaf(key, node);
  }

  std::string leaf(const Key& key, const Node* node) {
    const bool is_list = key.type.find("[]") != std::string_view::npos;
    if (const auto outside = values_.outside(key.path))
      return is_list ? list(key, split_list(outside->text)) : text_json(key.type, outside->text);
    if (node != nullptr)
      return node_json(*node);
    if (key.type == "bool" && !key.default_text.empty())
      return truth(values_.boolean(key.path));
    if (is_listed(kLists, key.path))
      return "[]";
    if (key.default_text.empty())
      return "null";
    constexpr std::string_view kDirectory = "<tmpdir>";
    if (!key.default_text.starts_with(kDirectory))
      return text_json(key.type, key.default_text);
    return json_quoted(environment_("TMPDIR").value_or("/tmp") +
                       std::string(key.default_text.substr(kDirectory.size())));
  }

  static std::string list(const Key& key, const std::vector<std::string>& items) {
    std::string out;
    for (const std::string& item : items) {
      const bool is_number = key.type.find("u16") != std::string_view::npos;
      out += (out.empty() ? "" : ",") + text_json(is_number ? "u16" : "string", item);
    }
    return "[" + out + "]";
  }

  Values& values_;
  const Environment& environment_;
  std::map<std::string_view, std::string> computed_;
};

}  // namespace

std::string resolved_json(const ResolvedConfig& config, Values& values,
                          const Environment& environment) {
  return Writer(config, values, environment).object("");
}

}  // namespace mirrord::config
