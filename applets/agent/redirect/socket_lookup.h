// applets/agent/redirect/socket_lookup.h — redirection by the kernel's own socket look-up (Linux 5.9).
//
// No packet is rewritten: for a new connection to a chosen port the kernel is told to take the agent's
// listener instead of the target's. So the accepted socket's own address is the original destination,
// and when the agent is gone, however it went, new connections reach the target.
#pragma once

#include "applets/agent/redirect/redirector.h"

namespace mirrord::agent {

// Maps and program, loaded while the agent still has its privileges. Nothing is in force yet.
struct SocketLookupProgram {
  Fd ports, exempt, listeners, program;

  // Fails when the kernel or the agent's privileges do not allow it.
  [[nodiscard]] static Result<SocketLookupProgram> load();
};

// In force in the network namespace of the calling thread; fails where it cannot be put into force.
[[nodiscard]] Result<std::unique_ptr<Redirector>> make_socket_lookup(
    net::Loop& loop, std::shared_ptr<const SocketLookupProgram> program,
    Redirector::Accepted accepted);

}  // namespace mirrord::agent
