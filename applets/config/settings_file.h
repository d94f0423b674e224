// applets/config/settings_file.h — compiles the configuration into the hook's settings page.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "applets/config/config.h"
#include "applets/config/path_rules.h"

namespace mirrord::config {

struct SettingsInput {
  std::string session_directory;
  std::string hook_path;
  PathContext paths;
  std::string ignored_ports;             // MIRRORD_IGNORE_DEBUGGER_PORTS
  std::vector<std::string> environment;  // NAME=value that every process must have
  bool keeps_own_files = false;          // local::kOwnFilesLocal
  bool logs_decisions = false;           // local::kLogDecisions
};

// The bytes of the session's settings file (local::Settings and its sections).
Result<std::vector<std::byte>> build_settings(const ResolvedConfig& config,
                                              const SettingsInput& input);

// Writes the bytes to DIRECTORY/settings, readable by the user only.
Status write_settings(const std::string& directory, const std::vector<std::byte>& bytes);

// Whether programs of the session get traffic of the target's ports.
bool takes_incoming(const ResolvedConfig& config);

// Names of programs in which the hook stays inert.
std::vector<std::string> skipped_processes(const ResolvedConfig& config);

// "80, 8000-8100" as ranges; what does not parse is left out.
std::vector<local::PortRange> parse_port_ranges(std::string_view text);

}  // namespace mirrord::config
