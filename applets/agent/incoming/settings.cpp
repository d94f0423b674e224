// applets/agent/incoming/settings.cpp — reads the variables of incoming traffic.
#include "applets/agent/incoming/settings.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "net/http/message.h"

namespace mirrord::agent {
namespace {

std::string_view text(const EnvironmentLookup& environment, const char* name) {
  const char* value = environment(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size())
    return std::nullopt;
  return value;
}

template <class Use>
void for_each_port(std::string_view list, Use use) {
  net::http::for_each_token(list, [&](std::string_view item) {
    if (const auto port = number(item); port && *port <= 65535)
      use(static_cast<std::uint16_t>(*port));
  });
}

bool flag(std::string_view text, bool otherwise) {
  return text.empty() ? otherwise : !is_falsy(text);
}

}  // namespace

IncomingSettings incoming_settings(const EnvironmentLookup& environment) {
  constexpr std::uint32_t kLongestDetection = 60;  // seconds
  IncomingSettings settings;
  if (const auto seconds = number(text(environment, "MIRRORD_AGENT_HTTP_DETECTION_TIMEOUT")))
    settings.detection_timeout = std::chrono::seconds(std::min(*seconds, kLongestDetection));
  settings.overrides_cache_control = flag(text(environment, "MIRRORD_AGENT_OVERRIDE_CACHE_CONTROL"),
                                          settings.overrides_cache_control);
  settings.injects_headers =
      flag(text(environment, "MIRRORD_AGENT_INJECT_HEADERS"), settings.injects_headers);
  settings.passes_probes =
      flag(text(environment, "MIRRORD_AGENT_PASS_PROBES"), settings.passes_probes);
  for_each_port(text(environment, "MIRRORD_AGENT_PROBE_PORTS"),
                [&](std::uint16_t port) { settings.probe_ports.push_back(port); });
  settings.cuts_established =
      flag(text(environment, "MIRRORD_AGENT_STEALER_FLUSH_CONNECTIONS"), settings.cuts_established);
  if (const auto bytes = number(text(environment, "MIRRORD_MAX_BODY_BUFFER_SIZE")))
    settings.body_limit = *bytes;
  if (const auto ms = number(text(environment, "MIRRORD_MAX_BODY_BUFFER_TIMEOUT")))
    settings.body_timeout = std::chrono::milliseconds(*ms);
  const std::string_view policy = text(environment, "MIRRORD_AGENT_ON_CONCURRENT_STEAL");
  if (policy == "abort" || policy == "continue")
    settings.on_concurrent_steal = OnConcurrentSteal::kRefuse;
  return settings;
}

}  // namespace mirrord::agent
