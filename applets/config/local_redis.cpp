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

// A key of `local`, or what the table has for it.
std::string setting(const Node& local, std::string_view key) {
  const std::string& text = local.at(key).text;
  const Key* known = find_key(std::string(kBranches) + "[].local." + std::string(key));
  return text.empty() && known != nullptr ? std::string(known->default_text) : text;
}

LocalRedis server_of(const Node& branch) {
  const Node& local = branch.at("local");
  const std::string runtime = setting(local, "runtime");
  const std::string port = setting(local, "port");
  LocalRedis redis;
  redis.runtime = runtime == "auto"           ? RedisRuntime::kAuto
                  : runtime == "redis_server" ? RedisRuntime::kServer
                                              : RedisRuntime::kContainer;
  std::from_chars(port.data(), port.data() + port.size(), redis.port);
  redis.image = "docker.io/library/redis:" + setting(local, "version");
  redis.container_command = local.at("container_command").text;
  if (redis.container_command.empty())
    redis.container_command = setting(local, "container_runtime");
  redis.server_command = local.at("server_command").text;
  if (redis.server_command.empty())
    redis.server_command = "redis-server";
  for (const Node& argument : local.at("options").at("args").items)
    redis.arguments.push_back(argument.text);
  return redis;
}

// The variable by which the program finds its Redis, and what it shall say.
std::optional<std::pair<std::string, std::string>> variable_of(const Node& branch,
                                                               const std::string& address) {
  const Node& connection = branch.at("connection");
  if (const std::string& url = connection.at("url").at("variable").text; !url.empty())
    return std::pair(url, "redis://" + address + "/0");
  if (const std::string& host = connection.at("host").at("variable").text; !host.empty())
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
    if (branch.at("type").text != "redis" || branch.at("location").text != "local")
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
