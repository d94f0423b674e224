// applets/config/cluster.cpp — what the configuration says about the cluster and the agent in it.
#include <algorithm>
#include <cctype>

#include "applets/agent_image.h"
#include "applets/config/resolve.h"

namespace mirrord::config {
namespace {

using k8s::Json;

Json json_of(const Node& node) {
  switch (node.type) {
    case Node::Type::kNull:
      return {};
    case Node::Type::kBool:
      return node.boolean;
    case Node::Type::kNumber:
      return Json::parse(node.text, "a number").value_or(Json(node.text));
    case Node::Type::kString:
      return node.text;
    case Node::Type::kArray: {
      Json array = Json::array();
      for (const Node& item : node.items)
        array.push(json_of(item));
      return array;
    }
    case Node::Type::kObject: {
      Json object = Json::object();
      for (const Node::Member& member : node.members)
        object.set(member.key, json_of(member.value));
      return object;
    }
  }
  return {};
}

std::optional<Json> maybe_json(Values& values, std::string_view path) {
  const Node* node = values.node(path);
  if (node == nullptr || node->type == Node::Type::kNull)
    return std::nullopt;
  return json_of(*node);
}

// {"type": …, "localhost_profile": …} in the API's spelling.
Json profile_json(const Node& node) {
  Json profile = Json::object();
  for (const Node::Member& member : node.members)
    profile.set(member.key == "localhost_profile" ? "localhostProfile" : member.key,
                json_of(member.value));
  return profile;
}

std::optional<Json> security_context(Values& values) {
  Json context = Json::object();
  for (const auto& [key, name] :
       {std::pair{"agent.security_context.app_armor_profile", "appArmorProfile"},
        std::pair{"agent.security_context.seccomp_profile", "seccompProfile"}}) {
    if (const Node* node = values.node(key); node != nullptr && node->type == Node::Type::kObject)
      context.set(name, profile_json(*node));
  }
  if (context.view().size() == 0)
    return std::nullopt;
  return context;
}

// One of the image's two parts: the file's, else the environment's.
std::string image_part(Values& values, std::string_view path, std::string_view otherwise) {
  if (const Node* node = values.node(path); node != nullptr && node->type == Node::Type::kString)
    return node->text;
  const auto given = values.outside(path);
  return given ? given->text : std::string(otherwise);
}

std::string agent_image(Values& values) {
  if (const auto given = values.outside("agent.image"))
    return given->text;
  const Node* node = values.node("agent.image");
  if (node != nullptr && node->type == Node::Type::kString)
    return node->text;
  return image_part(values, "agent.image.registry", kAgentImageRegistry) + ":" +
         image_part(values, "agent.image.tag", kAgentImageTag);
}

std::vector<std::string> pull_secrets(Values& values) {
  std::vector<std::string> names;
  if (const Node* node = values.node("agent.image_pull_secrets"); node != nullptr) {
    for (const Node& item : node->items) {
      if (const Node* name = item.set_member("name"); name != nullptr)
        names.push_back(name->text);
    }
  }
  return names;
}

std::uint32_t small(std::uint64_t value) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(value, UINT32_MAX));
}

std::optional<std::uint32_t> maybe_small(Values& values, std::string_view path) {
  const auto value = values.maybe_number(path);
  return value ? std::optional(small(*value)) : std::nullopt;
}

// `~` at the start, $NAME and ${NAME}; what is not set becomes nothing.
std::string expand(std::string_view text, const Environment& environment) {
  std::string expanded;
  if (text == "~" || text.starts_with("~/")) {
    expanded = environment("HOME").value_or("~");
    text.remove_prefix(1);
  }
  while (!text.empty()) {
    const std::size_t dollar = std::min(text.find('$'), text.size());
    expanded += text.substr(0, dollar);
    text.remove_prefix(dollar);
    if (text.empty())
      break;
    text.remove_prefix(1);
    const bool is_braced = text.starts_with('{');
    const auto is_of_name = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; };
    const auto end =
        is_braced ? std::ranges::find(text, '}') : std::ranges::find_if_not(text, is_of_name);
    const std::string_view name(text.begin() + (is_braced ? 1 : 0), end);
    if (name.empty())
      expanded += '$';
    else
      expanded += environment(std::string(name)).value_or("");
    if (!name.empty())
      text = std::string_view(end == text.end() || !is_braced ? end : end + 1, text.end());
  }
  return expanded;
}

}  // namespace

k8s::AgentSettings resolve_agent_settings(Values& values) {
  k8s::AgentSettings agent;
  agent.image = agent_image(values);
  agent.image_pull_policy = values.text("agent.image_pull_policy");
  agent.image_pull_secrets = pull_secrets(values);
  agent.name_space = values.text("agent.namespace");
  agent.ephemeral = values.boolean("agent.ephemeral");
  agent.bare_pod = values.boolean("agent.bare_pod");
  agent.privileged = values.boolean("agent.privileged");
  agent.disabled_capabilities = values.list("agent.disabled_capabilities");
  agent.ttl_seconds = small(values.number("agent.ttl"));
  agent.communication_timeout_seconds =
      maybe_small(values, "agent.communication_timeout").value_or(30);
  agent.startup_timeout_seconds = small(values.number("agent.startup_timeout"));
  agent.labels = values.map("agent.labels");
  agent.annotations = values.map("agent.annotations");
  agent.node_selector = values.map("agent.node_selector");
  agent.tolerations = maybe_json(values, "agent.tolerations");
  agent.resources = maybe_json(values, "agent.resources");
  agent.security_context = security_context(values);
  agent.service_account = values.text("agent.service_account");
  agent.priority_class = values.text("agent.priority_class");
  agent.disable_mesh_sidecar_injection = values.boolean("agent.disable_mesh_sidecar_injection");
  agent.exclude_from_mesh = values.boolean("agent.exclude_from_mesh");
  agent.log_level = values.text("agent.log_level");
  agent.json_log = values.boolean("agent.json_log");
  agent.flush_connections = values.boolean("agent.flush_connections");
  agent.max_body_buffer_size = values.number("agent.max_body_buffer_size");
  agent.max_body_buffer_timeout = values.number("agent.max_body_buffer_timeout");
  agent.http_detection_timeout = values.number("agent.http_detection_timeout");
  agent.jaq_time_limit = values.number("agent.jaq_time_limit");
  agent.nftables = values.maybe_boolean("agent.nftables");
  agent.dns_attempts = maybe_small(values, "agent.dns.attempts");
  agent.dns_timeout_seconds = maybe_small(values, "agent.dns.timeout");
  agent.metrics = values.text("agent.metrics");
  agent.inject_headers = values.boolean("agent.inject_headers");
  agent.clean_iptables_on_start = values.maybe_boolean("agent.clean_iptables_on_start");
  agent.external_ip_fix = values.boolean("agent.external_ip_fix");
  agent.override_cache_control = values.boolean("agent.override_cache_control");
  return agent;
}

k8s::ClientConfigChoice resolve_cluster(Values& values, const Environment& environment) {
  k8s::ClientConfigChoice choice;
  const std::string list = values.text("kubeconfig");
  std::string_view rest = list;
  while (!rest.empty()) {
    const std::string_view entry = rest.substr(0, rest.find(':'));
    if (!entry.empty())
      choice.kubeconfig_files.push_back(expand(entry, environment));
    rest.remove_prefix(std::min(entry.size() + 1, rest.size()));
  }
  choice.context = values.text("kube_context");
  choice.accept_invalid_certificates = values.maybe_boolean("accept_invalid_certificates");
  choice.use_proxy = values.boolean("use_proxy");
  return choice;
}

}  // namespace mirrord::config
