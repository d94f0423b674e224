// applets/intproxy/parts.cpp — the list of a session's parts.
#include "applets/intproxy/files.h"
#include "applets/intproxy/session.h"

namespace mirrord::intproxy {

std::vector<std::unique_ptr<Part>> make_parts(Session& session) {
  std::vector<std::unique_ptr<Part>> parts;
  parts.push_back(std::make_unique<Files>(session));
  return parts;
}

}  // namespace mirrord::intproxy
