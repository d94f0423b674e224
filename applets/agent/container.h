// applets/agent/container.h — finds a container of this machine, whatever runtime started it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "net/error.h"

namespace mirrord::agent {

// Where to look. The agent's own pod has the node's folders under /host.
struct HostView {
  std::string proc = "/proc";
  std::vector<std::string> roots{"", "/host"};  // each is put before /run/…, /var/lib/…, /home/…
};

struct FoundContainer {
  std::string id;
  std::string name;                      // "" when the runtime keeps none
  std::string runtime;                   // for messages
  pid_t pid = 0;                         // of its first process
  std::vector<std::string> environment;  // NAME=value, as declared to the runtime
};

// By name, by id, or by the start of an id. A Kubernetes container is also found as POD/CONTAINER
// and NAMESPACE/POD/CONTAINER.
[[nodiscard]] Result<FoundContainer> find_container(const std::string& name_or_id,
                                                    const HostView& host = {});

// Only by what processes are in: for an id that is known to be right.
[[nodiscard]] pid_t find_by_cgroup(const std::string& id, const HostView& host = {});

}  // namespace mirrord::agent
