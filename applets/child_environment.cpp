// applets/child_environment.cpp — joins inherited and remote variables as the configuration says.
#include "applets/child_environment.h"

#include <strings.h>
#include <sys/resource.h>

#include <algorithm>

#include "applets/config/path_mapping.h"
#include "applets/config/text_file.h"
#include "proto/local.h"

namespace mirrord {
namespace {

constexpr std::size_t kLargestEnvFile = 1024 * 1024;

std::string_view trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos)
    return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

bool same_letters(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// The value of one line of a dotenv file: quoted, or up to a comment.
std::string env_file_value(std::string_view text) {
  if (text.size() >= 2 && text.front() == '\'' && text.find('\'', 1) != text.npos)
    return std::string(text.substr(1, text.find('\'', 1) - 1));
  std::string value;
  if (text.size() >= 2 && text.front() == '"') {
    for (std::size_t i = 1; i < text.size() && text[i] != '"'; ++i) {
      if (text[i] == '\\' && i + 1 < text.size()) {
        ++i;
        value += text[i] == 'n' ? '\n' : text[i] == 't' ? '\t' : text[i];
      } else {
        value += text[i];
      }
    }
    return value;
  }
  const std::size_t comment = text.find(" #");
  return std::string(trim(text.substr(0, comment)));
}

// Remote variables after env_file, mapping and override.
Result<config::StringPairs> remote_variables(const std::map<std::string, std::string>& remote,
                                             const config::EnvironmentRules& rules) {
  std::map<std::string, std::string> values = remote;
  if (!rules.env_file.empty()) {
    MIRRORD_TRY(text, config::read_text_file(rules.env_file, kLargestEnvFile));
    MIRRORD_TRY(pairs, parse_env_file(text, rules.env_file));
    for (auto& [name, value] : pairs)
      values[name] = std::move(value);
  }
  for (const auto& [pattern, replacement] : rules.mapping) {
    MIRRORD_TRY(compiled, config::NamePattern::create(pattern));
    // The first pattern that matches a name decides.
    for (auto& [name, value] : values) {
      const auto earlier = [&, &wanted = name] {
        for (const auto& [other, unused] : rules.mapping) {
          if (other == pattern)
            return false;
          const auto before = config::NamePattern::create(other);
          if (before && before->matches(wanted))
            return true;
        }
        return false;
      };
      if (compiled.matches(name) && !earlier())
        value = replacement;
    }
  }
  for (const auto& [name, value] : rules.override_values)
    values[name] = value;
  return config::StringPairs(values.begin(), values.end());
}

void blank_proxies(VariableList& variables) {
  for (const std::string& entry : variables.entries()) {
    const std::string_view name = std::string_view(entry).substr(0, entry.find('='));
    if (same_letters(name, "http_proxy") || same_letters(name, "https_proxy"))
      variables.set(name, "");
  }
}

void add_preload(VariableList& variables, const std::string& hook) {
  const std::string* present = variables.find("LD_PRELOAD");
  if (present == nullptr || present->empty())
    variables.set("LD_PRELOAD", hook);
  else if (present->find(hook) == std::string::npos)
    variables.set("LD_PRELOAD", *present + ":" + hook);
}

// The configured order; `added` are variables of the target and the configuration.
VariableList assemble(const char* const* inherited, const config::StringPairs& added,
                      const config::ResolvedConfig& config, const SessionVariables& session) {
  VariableList variables(inherited);
  if (!config.use_proxy)
    blank_proxies(variables);
  for (const auto& [name, value] : added)
    variables.set(name, value);
  for (const std::string& name : config.environment.unset)
    variables.remove(name);

  variables.set("MIRRORD_RESOLVED_CONFIG", session.resolved_config);
  variables.set(local::kSessionVariable, session.directory);
  variables.set("MIRRORD_PROGRESS_MODE", "off");
  add_preload(variables, session.hook_path);
  const std::string* debug = variables.find("GODEBUG");
  if (session.is_go && (debug == nullptr || debug->find("netdns=") == std::string::npos))
    variables.set("GODEBUG",
                  debug == nullptr || debug->empty() ? "netdns=cgo" : *debug + ",netdns=cgo");
  return variables;
}

}  // namespace

VariableList::VariableList(const char* const* environment) {
  for (; environment != nullptr && *environment != nullptr; ++environment) {
    const std::string_view entry = *environment;
    const std::size_t equals = entry.find('=');
    if (equals != std::string_view::npos)
      set(entry.substr(0, equals), entry.substr(equals + 1));
  }
}

void VariableList::set(std::string_view name, std::string_view value) {
  const auto found = index_.find(name);
  if (found != index_.end()) {
    variables_[found->second].value = value;
    return;
  }
  index_.emplace(name, variables_.size());
  variables_.push_back({std::string(name), std::string(value)});
}

void VariableList::remove(std::string_view name) {
  std::erase_if(variables_,
                [&](const Variable& variable) { return same_letters(variable.name, name); });
  index_.clear();
  for (std::size_t i = 0; i < variables_.size(); ++i)
    index_.emplace(variables_[i].name, i);
}

const std::string* VariableList::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found != index_.end() ? &variables_[found->second].value : nullptr;
}

std::vector<std::string> VariableList::entries() const {
  std::vector<std::string> entries;
  entries.reserve(variables_.size());
  for (const Variable& variable : variables_)
    entries.push_back(variable.name + "=" + variable.value);
  return entries;
}

Result<config::StringPairs> parse_env_file(std::string_view text, std::string_view name) {
  config::StringPairs pairs;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    std::string_view line = trim(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.starts_with("export "))
      line = trim(line.substr(7));
    if (line.empty() || line.front() == '#')
      continue;
    const std::size_t equals = line.find('=');
    const std::string_view key = trim(line.substr(0, equals));
    if (equals == std::string_view::npos || key.empty())
      return fail(ErrorCode::kConfig,
                  std::string(name) + ":" + std::to_string(number) + ": expected NAME=value",
                  "Check the file of feature.env.env_file (--env-file).");
    pairs.emplace_back(key, env_file_value(trim(line.substr(equals + 1))));
  }
  return pairs;
}

bool fits_execve(const VariableList& variables, std::span<const std::string> arguments) {
  constexpr std::size_t kLongestText = 128 * 1024;
  constexpr std::size_t kMostInAll = 6 * 1024 * 1024;
  constexpr std::size_t kReserve =
      64 * 1024;  // the program's path, and what a script's interpreter adds
  rlimit stack{};
  const bool is_limited = getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur != RLIM_INFINITY;
  const std::size_t limit =
      is_limited ? std::min<std::size_t>(stack.rlim_cur / 4, kMostInAll) : kMostInAll;
  std::size_t size = kReserve;
  const auto fits = [&](const std::string& text) {
    size += text.size() + 1 + sizeof(char*);
    return text.size() < kLongestText && size <= std::max(limit, kLongestText);
  };
  return std::ranges::all_of(variables.entries(), fits) && std::ranges::all_of(arguments, fits);
}

SplitEnvironment split_environment(const VariableList& whole, const char* const* inherited,
                                   const config::ResolvedConfig& config,
                                   const SessionVariables& session) {
  SplitEnvironment split{assemble(inherited, {}, config, session), {}};
  for (const std::string& entry : whole.entries()) {
    const std::size_t equals = entry.find('=');
    const std::string* started = split.started.find(entry.substr(0, equals));
    if (started == nullptr || *started != entry.substr(equals + 1))
      split.loaded += entry + '\0';
  }
  if (!split.loaded.empty())
    split.started.set(local::kLoadVariable, "1");
  return split;
}

Result<VariableList> child_environment(const char* const* inherited,
                                       const std::map<std::string, std::string>& remote,
                                       const config::ResolvedConfig& config,
                                       const SessionVariables& session) {
  MIRRORD_TRY(incoming, remote_variables(remote, config.environment));
  // The target's preloaded libraries are not here.
  if (remote.contains("LD_PRELOAD"))
    std::erase_if(incoming, [](const auto& variable) { return variable.first == "LD_PRELOAD"; });
  return assemble(inherited, incoming, config, session);
}

}  // namespace mirrord
