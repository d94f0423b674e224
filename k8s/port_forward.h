// k8s/port_forward.h — a connection to a port of a pod, through the API server.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "k8s/api_client.h"
#include "net/error.h"
#include "net/fd.h"

namespace mirrord::k8s {

struct PodPort {
  std::string name_space, pod;
  std::uint16_t port = 0;
};

// Lives on the loop's thread. The caller talks through a socket, as if it were the pod's port; the
// end of the connection is the end of that stream.
class PortForward {
 public:
  struct Options {
    std::chrono::milliseconds connect_timeout{30'000};
    std::chrono::milliseconds ping_interval{20'000};  // keeps idle proxies from cutting the line
  };
  struct Handlers {
    // The server has agreed and names the port; the pod may still refuse it (see `ended`).
    std::move_only_function<void()> opened;
    // Once, last: why it ended, the server's own words where it gave some.
    std::move_only_function<void(Error why)> ended;
  };

  PortForward(ApiClient& client, PodPort target, Options options);
  ~PortForward();
  PortForward(const PortForward&) = delete;
  PortForward& operator=(const PortForward&) = delete;

  // Call once. The other end of the bytes: a connected stream socket for the caller.
  Result<Fd> open(Handlers handlers);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mirrord::k8s
