// applets/agent/container_records.h — what container runtimes keep on disk about their containers.
#pragma once

#include <string>
#include <vector>

#include "applets/agent/container.h"

namespace mirrord::agent {

struct ContainerRecord {
  std::string id;
  std::vector<std::string> names;
  std::string runtime;
  pid_t pid = 0;  // 0: not on record, or not running
  std::vector<std::string> environment;
};

struct ContainerRecords {
  std::vector<ContainerRecord> records;
  bool was_refused = false;  // some folder exists but may not be read
};

// Docker, Podman and CRI-O, containerd with nerdctl and Kubernetes, runc, crun, systemd-nspawn. One
// container may be on record several times.
[[nodiscard]] ContainerRecords read_container_records(const HostView& host);

}  // namespace mirrord::agent
