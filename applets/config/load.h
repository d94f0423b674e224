// applets/config/load.h — reads, checks and resolves the configuration.
#pragma once

#include <expected>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "applets/config/config.h"
#include "applets/config/template.h"

namespace mirrord::config {

// A flag's value takes the place of an environment variable, and wins over it.
struct Override {
  std::string value;
  std::string flag;  // as the user wrote it, for messages
};
using Overrides = std::map<std::string, Override, std::less<>>;

std::optional<std::string> process_environment(std::string_view name);

struct LoadRequest {
  std::string file;                 // empty: none; "-": from standard input
  std::optional<std::string> text;  // what standard input was, if it has been read
  Overrides overrides;
  Environment environment = process_environment;
  // False: an editor may still choose a target, so its absence is no conflict.
  bool is_target_final = true;
};

// Reads standard input where it is the file: for a request that is loaded more than once.
Status keep_standard_input(LoadRequest& request);

// Flags win over the environment, that over the file, that over defaults. All errors are
// reported at once, in the order of the file.
std::expected<ResolvedConfig, std::vector<Error>> load(const LoadRequest& request);

// The same, with every key's value (resolved_json.h).
struct WholeConfig {
  ResolvedConfig config;
  std::string json;
};
std::expected<WholeConfig, std::vector<Error>> load_whole(const LoadRequest& request);

}  // namespace mirrord::config
