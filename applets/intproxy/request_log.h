// applets/intproxy/request_log.h — requests of hooks as text for the session's log.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "applets/intproxy/local_server.h"
#include "applets/log/filter.h"

namespace mirrord::intproxy {

// A request as the log shows it, without its outcome: "cat[71] open /etc/hostname". What is asked by name (files, hosts,
// addresses) is of level debug, the rest (reads, seeks …) of level trace. No content, no secret.
struct RequestNote {
  log::Component component = log::Component::kSession;
  log::Level level = log::Level::kTrace;
  std::string text;
};

// Nothing for messages that are no requests.
std::optional<RequestNote> note_of(const Process& process, const Request& request);

// What its answer says: "ok", an error's text, where a connection goes.
std::string outcome_text(local::MessageType type, int error, std::span<const std::byte> fixed);

}  // namespace mirrord::intproxy
