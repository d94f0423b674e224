// applets/log/filter.h — which log lines are wanted: levels by component, in the form of RUST_LOG.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace mirrord::log {

// The order is that of the console's records on the wire.
enum class Level : std::uint8_t { kError, kWarn, kInfo, kDebug, kTrace };
inline constexpr std::array<std::string_view, 5> kLevelNames = {"error", "warn", "info", "debug",
                                                                "trace"};

enum class Component : std::uint8_t {
  kAgent,       // the agent, and the connection to it
  kConfig,      // the configuration that is in force
  kDns,         // names that are looked up
  kFiles,       // remote files
  kHook,        // what the hook decides in the program: local or remote
  kIncoming,    // subscriptions, and what comes to the target
  kKubernetes,  // requests to the API server
  kOutgoing,    // connections of the program
  kSession,     // processes, the session's start and end
};
inline constexpr std::array<std::string_view, 9> kComponentNames = {
    "agent", "config", "dns", "files", "hook", "incoming", "kubernetes", "outgoing", "session"};

constexpr std::string_view name_of(Level level) {
  return kLevelNames[static_cast<std::size_t>(level)];
}
constexpr std::string_view name_of(Component component) {
  return kComponentNames[static_cast<std::size_t>(component)];
}

class Filter {
 public:
  // Allows nothing.
  Filter() = default;
  explicit Filter(Level level) { most_.fill(static_cast<std::int8_t>(level)); }

  // Reads "LEVEL", "COMPONENT=LEVEL" and "mirrord=LEVEL", separated by commas; LEVEL may be "off", and a component alone
  // is wanted at every level. The original's modules ("mirrord_intproxy::dns=debug") mean the component that their
  // last part names, else all. The most specific part wins, then the last. What names something else, such as
  // "hyper=warn", is not about us.
  static Filter parse(std::string_view directives);

  [[nodiscard]] bool allows(Component component, Level level) const {
    return static_cast<std::int8_t>(level) <= most_[static_cast<std::size_t>(component)];
  }

 private:
  std::array<std::int8_t, kComponentNames.size()> most_ = {-1, -1, -1, -1, -1, -1, -1, -1, -1};
};

// The component that the last part of a module's name says: "mirrord::dns", "dns".
std::optional<Component> component_of(std::string_view target);

// Reads a level's name, upper or lower case; nothing for another word.
std::optional<Level> level_named(std::string_view name);

}  // namespace mirrord::log
