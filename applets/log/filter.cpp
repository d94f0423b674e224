// applets/log/filter.cpp — reads the directives of a log filter.
#include "applets/log/filter.h"

#include <algorithm>
#include <string>

namespace mirrord::log {
namespace {

constexpr std::int8_t kOff = -1;
constexpr auto kAll = static_cast<std::int8_t>(Level::kTrace);

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 0x20 : c);
  });
  return result;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t from = std::min(text.find_first_not_of(' '), text.size());
  return text.substr(from, text.find_last_not_of(' ') + 1 - from);
}

std::optional<std::int8_t> limit_named(std::string_view name) {
  if (name == "off")
    return kOff;
  const auto level = level_named(name);
  return level ? std::optional(static_cast<std::int8_t>(*level)) : std::nullopt;
}

// One part of the filter, by what it is about.
struct Limits {
  std::int8_t everything = kOff;
  std::optional<std::int8_t> mirrord;
  std::array<std::optional<std::int8_t>, kComponentNames.size()> components;

  void add(std::string_view target, std::int8_t limit) {
    const bool is_module = target.starts_with("mirrord");
    if (!is_module && target.contains("::"))
      return;
    if (const auto component = component_of(target)) {
      components[static_cast<std::size_t>(*component)] = limit;
    } else if (is_module) {
      mirrord = limit;
    }
  }
};

}  // namespace

std::optional<Component> component_of(std::string_view target) {
  const std::size_t colons = target.rfind("::");
  const auto found = std::ranges::find(
      kComponentNames, colons == std::string_view::npos ? target : target.substr(colons + 2));
  return found == kComponentNames.end()
             ? std::nullopt
             : std::optional(static_cast<Component>(found - kComponentNames.begin()));
}

std::optional<Level> level_named(std::string_view name) {
  const auto found = std::ranges::find(kLevelNames, lower(name));
  return found == kLevelNames.end()
             ? std::nullopt
             : std::optional(static_cast<Level>(found - kLevelNames.begin()));
}

Filter Filter::parse(std::string_view directives) {
  Limits limits;
  const std::string text = lower(directives);
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const std::string_view part = trimmed(std::string_view(text).substr(at, end - at));
    const std::size_t equals = part.find('=');
    if (const auto limit = limit_named(part)) {
      limits.everything = *limit;
    } else if (equals == std::string_view::npos) {
      limits.add(part, kAll);
    } else if (const auto wanted = limit_named(trimmed(part.substr(equals + 1)))) {
      limits.add(trimmed(part.substr(0, equals)), *wanted);
    }
    at = end + 1;
  }
  Filter filter;
  for (std::size_t i = 0; i < filter.most_.size(); ++i)
    filter.most_[i] = limits.components[i].value_or(limits.mirrord.value_or(limits.everything));
  return filter;
}

}  // namespace mirrord::log
