// applets/config/local_redis.cpp — database branches that run on this machine: a Redis with `location` local.
#include <charconv>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "applets/config/keys.h"
#include "applets/config/resolve.h"

namespace mirrord::config {
namespace {

constexpr std::string_view kBranches = "feature.db_branches";

std::string text_of(const Node* object, std::string_view key) {
  const Node* found = object == nullptr ? nullptr : object->set_member(key);
  return found == nullptr ? std::string() : found->text;
}

// A key of `local`, or what the table has for it.
std::string setting(const Node* local, std::string_view key) {
  std::string text = text_of(local, key);
  if (const Key* known = find_key(std::string(kBranches) + "[].local." + std::string(key));
      text.empty() && known != nullptr)
    text = known->default_text;
  return text;
}

LocalRedis server_of(const Node& branch) {
  const Node* local = branch.set_member("local");
  const Node* options = local == nullptr ? nullptr : local->set_member("options");
  const Node* arguments = options == nullptr ? nullptr : options->set_member("args");
  const std::string runtime = setting(local, "runtime");
  const std::string port = setting(local, "port");
  LocalRedis redis;
  redis.runtime = runtime == "auto"           ? RedisRuntime::kAuto
                  : runtime == "redis_server" ? RedisRuntime::kServer
                                              : RedisRuntime::kContainer;
  std::from_chars(port.data(), port.data() + port.size(), redis.port);
  redis.image = "docker.io/library/redis:" + setting(local, "version");
  redis.container_command = text_of(local, "container_command");
  if (redis.container_command.empty())
    redis.container_command = setting(local, "container_runtime");
  redis.server_command = text_of(local, "server_command");
  if (redis.server_command.empty())
    redis.server_command = "redis-server";
  if (arguments != nullptr) {
    for (const Node& argument : arguments->items)
      redis.arguments.push_back(argument.text);
  }
  return redis;
}

// The variable by which the program finds its Redis, and what it shall say.
std::optional<std::pair<std::string, std::string>> variable_of(const Node& branch,
                                                               const std::string& address) {
  const Node* connection = branch.set_member("connection");
  if (connection == nullptr)
    return std::nullopt;
  if (const std::string url = text_of(connection->set_member("url"), "variable"); !url.empty())
    return std::pair(url, "redis://" + address + "/0");
  if (const std::string host = text_of(connection->set_member("host"), "variable"); !host.empty())
    return std::pair(host, address);
  return std::nullopt;
}

}  // namespace

void resolve_local_redis(ResolvedConfig& config, Values& values) {
  const Node* branches = values.node(kBranches);
  if (branches == nullptr)
    return;
  std::set<std::uint16_t> ports;
  for (std::size_t i = 0; i < branches->items.size(); ++i) {
    const Node& branch = branches->items[i];
    if (text_of(&branch, "type") != "redis" || text_of(&branch, "location") != "local")
      continue;
    const std::string path = std::string(kBranches) + "[" + std::to_string(i) + "]";
    LocalRedis redis = server_of(branch);
    if (redis.port == 0 || !ports.insert(redis.port).second)
      values.error_at(branch, path,
                      redis.port == 0 ? "its `local.port` is 0"
                                      : "another local Redis has port " +
                                            std::to_string(redis.port) + " already",
                      "Set `local.port` to a port of its own.");
    const std::string address = "localhost:" + std::to_string(redis.port);
    if (auto variable = variable_of(branch, address))
      config.environment.override_values.push_back(std::move(*variable));
    else
      config.warnings.push_back(path +
                                ".connection names no variable of the program, which has to "
                                "know " +
                                address + " by itself");
    config.local_redis.push_back(std::move(redis));
  }
  if (!config.local_redis.empty())
    config.network.ignore_localhost = true;  // or the target's own would be meant
}

}  // namespace mirrord::config
