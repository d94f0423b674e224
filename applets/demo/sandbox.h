// applets/demo/sandbox.h — a small pod on this machine: its own files, environment, names, network.
#pragma once

#include <sys/types.h>

#include <string>

#include "net/error.h"
#include "net/fd.h"

namespace mirrord::demo {

// `mirrord demo --internal-agent OPTIONS`: a sandbox with an agent in front of it, both ending
// together. What a session spawns when its target is the demo.
inline constexpr char kAgentArgument[] = "--internal-agent";

// A process that is the first one of its own user, PID, mount, network, UTS and IPC namespaces,
// and serves what a pod would have around it. It ends with this object, and with the thread and
// the process that made it however those end: nothing of it stays behind.
class Sandbox {
 public:
  // Needs no privilege where the system lets users make namespaces; otherwise the error says what
  // to do. `program` is the mirrord executable, which becomes the pod's process.
  [[nodiscard]] static Result<Sandbox> start(const std::string& program = "/proc/self/exe");

  Sandbox(Sandbox&& other) noexcept;
  Sandbox& operator=(Sandbox&& other) noexcept;
  ~Sandbox();

  // In the PID namespace of the caller: the target is process/PID.
  [[nodiscard]] pid_t pid() const { return pid_; }
  // Readable when the pod has ended.
  [[nodiscard]] int control_fd() const { return control_.get(); }

 private:
  Sandbox(pid_t pid, Fd control) : pid_(pid), control_(std::move(control)) {}
  void end();

  pid_t pid_ = -1;
  Fd control_;  // the pod ends when it sees the other side of this socket closed
};

}  // namespace mirrord::demo
