// applets/agent/options.h — the agent's command line, compatible with the original's.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "net/error.h"

namespace mirrord::agent {

// What the agent lends out.
enum class TargetKind {
  kTargeted,    // a container of this machine, by its id (what a Kubernetes agent is told)
  kEphemeral,   // the container this one was added to
  kTargetless,  // the agent itself
  kProcess,     // one process, by its PID
  kContainer,   // a container of this machine, by id, start of an id, or name
};

struct Options {
  std::uint16_t port = 61337;
  std::chrono::seconds communication_timeout{30};  // for the first client
  std::chrono::seconds idle_ttl{0};                // how long to stay without clients
  std::chrono::seconds reconnect_ttl{0};  // … for one whose connection broke to come back
  int stream_fd = -1;                     // ≥ 0: serve this connected descriptor, listen nowhere
  std::string metrics_address;
  std::string operator_certificate;
  bool test_error = false;
  bool is_mesh = false;
  bool clean_iptables = false;
  bool wants_help = false;
  bool wants_version = false;

  TargetKind kind = TargetKind::kTargetless;
  std::string container;  // id or name
  std::string runtime = "containerd";
  int pid = 0;
};

using EnvironmentLookup = std::function<const char*(const char* name)>;

// The words that mean "off" for a flag given by environment variable.
[[nodiscard]] bool is_falsy(std::string_view text);

// `arguments` without the command's own name. Errors have code kUsage.
[[nodiscard]] Result<Options> parse_options(std::span<const char* const> arguments,
                                            const EnvironmentLookup& environment);

extern const char kUsageText[];

}  // namespace mirrord::agent
