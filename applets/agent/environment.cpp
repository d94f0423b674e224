// applets/agent/environment.cpp — environment entries, name patterns and the built-in exclusions.
#include "applets/agent/environment.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "proto/text.h"

namespace mirrord::agent {
namespace {

// Sorted: looked up by binary search.
constexpr auto kExcluded = std::to_array<std::string_view>({
    "BUNDLER_ORIG_BUNDLER_ORIG_MANPATH",
    "BUNDLER_ORIG_BUNDLER_VERSION",
    "BUNDLER_ORIG_BUNDLE_BIN_PATH",
    "BUNDLER_ORIG_BUNDLE_GEMFILE",
    "BUNDLER_ORIG_GEM_HOME",
    "BUNDLER_ORIG_MANPATH",
    "BUNDLER_ORIG_PATH",
    "BUNDLER_ORIG_RB_USER_INSTALL",
    "BUNDLER_ORIG_RUBYLIB",
    "BUNDLER_ORIG_RUBYOPT",
    "BUNDLER_VERSION",
    "BUNDLE_APP_CONFIG",
    "BUNDLE_BIN_PATH",
    "BUNDLE_FORCE_RUBY_PLATFORM",
    "BUNDLE_GEMFILE",
    "BUNDLE_GEM_PATH",
    "BUNDLE_PATH",
    "BUNDLE_WITHOUT",
    "CATALINA_HOME",
    "CLASSPATH",
    "DOTNET_EnableDiagnostics",
    "DOTNET_STARTUP_HOOKS",
    "GEM_HOME",
    "GEM_PATH",
    "GOMODCACHE",
    "GOPATH",
    "HOME",
    "HOMEPATH",
    "JAVA_EXE",
    "JAVA_HOME",
    "JAVA_TOOL_OPTIONS",
    "MIRRORD_LOG",
    "PATH",
    "PWD",
    "PYTHONPATH",
    "RUBYLIB",
    "RUBYOPT",
    "RUST_LOG",
    "_JAVA_OPTIONS",
});
static_assert(std::ranges::is_sorted(kExcluded));

}  // namespace

std::string to_utf8_lossy(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = proto::utf8_length(text);
    if (length == 0)
      result += "\xEF\xBF\xBD";
    else
      result += text.substr(0, length);
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return result;
}

void add_entry(Environment& environment, std::string_view entry) {
  const std::size_t equals = entry.find('=');
  if (equals == 0 || equals == std::string_view::npos || !proto::is_utf8(entry))
    return;
  environment[std::string(entry.substr(0, equals))] = entry.substr(equals + 1);
}

void add_environ(Environment& environment, std::string_view content) {
  while (!content.empty()) {
    const std::size_t end = content.find('\0');
    add_entry(environment, content.substr(0, end));
    content.remove_prefix(end == std::string_view::npos ? content.size() : end + 1);
  }
}

bool matches_pattern(std::string_view name, std::string_view pattern) {
  std::size_t n = 0;
  std::size_t p = 0;
  // Where to go on when the text after the last star does not fit: one character further.
  std::size_t star = std::string_view::npos;
  std::size_t resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      const std::size_t length = std::max<std::size_t>(proto::utf8_length(name.substr(n)), 1);
      n += pattern[p] == '?' ? length : 1;
      ++p;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

bool is_always_excluded(std::string_view name) {
  return std::ranges::binary_search(kExcluded, name);
}

bool is_selected(std::string_view name, std::span<const std::string> filter,
                 std::span<const std::string> select) {
  const auto matches = [&](const std::string& pattern) { return matches_pattern(name, pattern); };
  return (select.empty() || std::ranges::any_of(select, matches)) && !is_always_excluded(name) &&
         std::ranges::none_of(filter, matches);
}

}  // namespace mirrord::agent
