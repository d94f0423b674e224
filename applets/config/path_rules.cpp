// applets/config/path_rules.cpp — which paths are remote, local or hidden without being asked for.
#include "applets/config/path_rules.h"

#include <unistd.h>

#include <cstdlib>

namespace mirrord::config {
namespace {

// Settings of the target that its programs cannot do without.
constexpr std::string_view kRemote[] = {
    "^/etc/resolv.conf$",
    "^/etc/hosts$",
    "^/etc/hostname$",
    "^/etc/ssl/certs(/|$)",
};

// Credentials of this machine's user: below $HOME, neither side's are right.
constexpr std::string_view kNotFoundInHome[] = {
    "\\.config/gcloud",
    "\\.kube",
    "\\.azure",
};

// The program itself, its libraries and sources, and what belongs to this machine.
constexpr std::string_view kLocal[] = {
    ".\\.so$",
    ".\\.sh$",
    ".\\.rb$",
    ".\\.d$",
    ".\\.pyc$",
    ".\\.py$",
    ".\\.jar$",
    ".\\.class$",
    ".\\.js$",
    ".\\.pth$",
    ".\\.plist$",
    "venv\\.cfg$",
    "^/proc(/|$)",
    "^/sys(/|$)",
    "^/lib(/|$)",
    "^/etc(/|$)",
    "^/usr(/|$)",
    "^/home(/|$)",
    "^/bin(/|$)",
    "^/sbin(/|$)",
    "^/dev(/|$)",
    "^/opt(/|$)",
    "^/tmp(/|$)",
    "^/var/tmp(/|$)",
    "^/var/db/timezone/zoneinfo(/|$)",
    "^/snap(/|$)",
    "^/run(/|$)",
    "^/selinux(/|$)",
    "^/nix(/|$)",
    ".+\\.asdf/.+",
    "^/home/iojs(/|$)",
    "^/home/runner(/|$)",
    "clr-.*-pipe-",
    "\\.pdb$",
    "\\.dll$",
    ".*(^|/)jvm\\.cfg$",
    "/package\\.json$",
    "/\\.yarnrc$",
    "/\\.yarnrc.yml$",
    "/\\.yarnrc.json$",
    "/node_modules",
    ".*/\\.tool-versions$",
    "^/Program Files",
    "^/$",
};

void add(std::vector<PathRule>& rules, const std::vector<std::string>& patterns, RuleGroup group) {
  for (const std::string& pattern : patterns)
    rules.push_back({pattern, group});
}

std::string without_trailing_slash(std::string path) {
  while (!path.empty() && path.back() == '/')
    path.pop_back();
  return path;
}

void add_computed(std::vector<PathRule>& rules, const PathContext& context) {
  const std::string home = quote_pattern(without_trailing_slash(context.home));
  if (!context.home.empty()) {
    for (const std::string_view below : kNotFoundInHome)
      rules.push_back({"^" + home + "/" + std::string(below), RuleGroup::kDefaultNotFound});
    rules.push_back({"^" + home + "/\\.", RuleGroup::kDefaultLocal});
  }
  if (!context.temporary.empty())
    rules.push_back({"^" + quote_pattern(context.temporary), RuleGroup::kDefaultLocal});
  if (!context.working_directory.empty() && context.working_directory != "/")
    rules.push_back(
        {"^" + quote_pattern(context.working_directory) + "(/|$)", RuleGroup::kDefaultLocal});
  for (const std::string& executable : context.executables)
    rules.push_back({quote_pattern(executable) + "$", RuleGroup::kDefaultLocal});
}

}  // namespace

PathContext path_context(const Environment& environment, std::vector<std::string> executables) {
  PathContext context;
  context.home = environment("HOME").value_or("");
  context.temporary = environment("TMPDIR").value_or("/tmp");
  if (context.temporary.empty())
    context.temporary = "/tmp";
  if (char* directory = getcwd(nullptr, 0); directory != nullptr) {
    context.working_directory = directory;
    std::free(directory);
  }
  context.executables = std::move(executables);
  return context;
}

std::vector<PathRule> path_rules(const FileRules& files, const PathContext& context) {
  std::vector<PathRule> rules;
  add(rules, files.not_found, RuleGroup::kNotFound);
  add(rules, files.read_write, RuleGroup::kReadWrite);
  add(rules, files.read_only, RuleGroup::kReadOnly);
  add(rules, files.local, RuleGroup::kLocal);
  for (const auto& [pattern, replacement] : files.mapping)
    rules.push_back({pattern, RuleGroup::kMapping});
  for (const std::string_view pattern : kRemote)
    rules.push_back({std::string(pattern), RuleGroup::kDefaultRemote});
  for (const std::string_view pattern : kLocal)
    rules.push_back({std::string(pattern), RuleGroup::kDefaultLocal});
  add_computed(rules, context);
  return rules;
}

}  // namespace mirrord::config
