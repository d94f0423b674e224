// applets/config/path_rules.h — the built-in lists of paths, and all rules of a configuration.
#pragma once

#include <string>
#include <vector>

#include "applets/config/path_automaton.h"
#include "applets/config/template.h"

namespace mirrord::config {

// What some of the built-in rules depend on. Empty: no rule.
struct PathContext {
  std::string home;
  std::string temporary = "/tmp";
  std::string working_directory;
  std::vector<std::string> executables;  // the program, and its interpreter if it is a script
};

PathContext path_context(const Environment& environment, std::vector<std::string> executables);

// The user's lists, the mappings' patterns and the built-in lists.
std::vector<PathRule> path_rules(const FileRules& files, const PathContext& context);

}  // namespace mirrord::config
