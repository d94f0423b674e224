// applets/command_log.h — the log of a command itself: on standard error with MIRRORD_LOG, in a console with
// MIRRORD_CONSOLE_ADDR.
#pragma once

#include <memory>
#include <string_view>

#include "applets/log/log.h"
#include "k8s/client_config.h"
#include "net/error.h"

namespace mirrord {

using CommandLog = std::shared_ptr<log::Log>;

// Never null; without the two variables it writes nowhere. Commands whose output editors read (ls, ext, container-ext)
// keep standard error clean unless MIRRORD_FORCE_LOG is true. A console that does not answer is an error.
Result<CommandLog> open_command_log(std::string_view command);

// Access to the API server whose requests go to the log.
Result<k8s::ClientConfig> logged_client_config(const k8s::ClientConfigChoice& choice,
                                               const CommandLog& log);

}  // namespace mirrord
