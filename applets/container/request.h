// applets/container/request.h — what `mirrord container` and its proxy's container leave for each other in their common
// directory: the configuration's sources one way, the target's environment the other.
#pragma once

#include <map>
#include <string>

#include "applets/config/load.h"
#include "net/error.h"

namespace mirrord::container {

// As the container sees it; on this machine it is a directory below the session's.
inline constexpr char kPrivate[] = "/opt/mirrord/private";  // only in the proxy's container
inline constexpr char kShare[] = "/opt/mirrord/share";      // also in the program's
inline constexpr char kExecutable[] = "/opt/mirrord/bin/mirrord";
inline constexpr char kHookName[] = "libmirrord_layer.so";
inline constexpr char kSessionName[] = "session";       // in the share
inline constexpr char kStreamsName[] = "streams.sock";  // in the private directory

// A copy of the configuration's file goes beside the request. The process's environment goes along: templates
// and keys read it.
Status write_request(const std::string& directory, const config::LoadRequest& load,
                     const std::string& key);
// With the environment that was written.
Result<config::LoadRequest> read_request(const std::string& directory);

using RemoteEnvironment = std::map<std::string, std::string>;
Status write_outcome(const std::string& directory, const Result<RemoteEnvironment>& outcome);
Result<RemoteEnvironment> read_outcome(const std::string& directory);

}  // namespace mirrord::container
