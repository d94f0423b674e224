// applets/child_environment.h — the environment that the user's program starts with.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "applets/config/config.h"
#include "net/error.h"

namespace mirrord {

// Variables in the order in which they were first set.
class VariableList {
 public:
  VariableList() = default;
  explicit VariableList(const char* const* environment);  // NAME=value, ends with null

  void set(std::string_view name, std::string_view value);
  void remove(std::string_view name);  // in any case of letters
  const std::string* find(std::string_view name) const;
  std::vector<std::string> entries() const;  // NAME=value

 private:
  struct Variable {
    std::string name;
    std::string value;
  };
  std::vector<Variable> variables_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

// Lines NAME=value; `export`, comments and quotes are understood.
Result<config::StringPairs> parse_env_file(std::string_view text, std::string_view name);

// What the session itself adds.
struct SessionVariables {
  std::string directory;
  std::string hook_path;
  std::string resolved_config;  // of MIRRORD_RESOLVED_CONFIG
  bool is_go = false;           // let Go look names up through libc, where the hook sees it
};

// What a program is started with, and what it loads itself from the session's environment file: `loaded`, with a NUL
// after each NAME=value, wins.
struct SplitEnvironment {
  VariableList started;
  std::string loaded;
};

// Whether execve takes them: no text of 128 KiB, and not more in all than the stack's limit allows (execve(2)).
bool fits_execve(const VariableList& variables, std::span<const std::string> arguments);

// `whole` without what comes from the target or the configuration, and that.
SplitEnvironment split_environment(const VariableList& whole, const char* const* inherited,
                                   const config::ResolvedConfig& config,
                                   const SessionVariables& session);

// inherited, then remote, env_file, mapping, override; then the session's own; then unset.
Result<VariableList> child_environment(const char* const* inherited,
                                       const std::map<std::string, std::string>& remote,
                                       const config::ResolvedConfig& config,
                                       const SessionVariables& session);

}  // namespace mirrord
