// applets/agent/target.h — the process whose files, environment and network the agent lends out.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "net/error.h"
#include "net/fd.h"

namespace mirrord::agent {

using Environment = std::map<std::string, std::string>;

// Opened once at start. All clients read it, pool threads too; nothing in it changes later.
struct Target {
  pid_t pid = 0;     // 0: no target, the agent lends out what itself has (targetless)
  Fd pidfd;          // readable when the target ends; closed without a target
  Fd root;           // O_PATH: the target's root directory, a limit that no path request leaves
  std::string name;  // for messages: "process 42", "container web", "this machine"
  Environment environment;
};

// Opens everything of process `pid` that clients will ask for. `declared` holds variables that a
// container runtime has on record; what the process really has wins over them.
[[nodiscard]] Result<Target> open_process_target(pid_t pid, std::string name,
                                                 const std::vector<std::string>& declared);
// The agent itself as target.
[[nodiscard]] Result<Target> open_own_target();

// Moves the calling thread, which must be the only one, into the target's network namespace (and
// user namespace, where that is what makes it possible). The listening socket must exist already.
// From then on every socket the agent makes belongs to the target.
[[nodiscard]] Status enter_network(const Target& target);

// Opens `path`, absolute or not, as the target sees it: no link and no `..` leaves the target's
// root. `flags` as for open(2), O_CLOEXEC is added. On failure -1 and errno.
[[nodiscard]] Fd open_in_root(const Target& target, const char* path, int flags, mode_t mode = 0);

// The whole content of a small file of the target (at most `limit` bytes), or an empty string and
// errno when it cannot be read.
[[nodiscard]] std::string read_in_root(const Target& target, const char* path,
                                       std::size_t limit = 1 << 20);

}  // namespace mirrord::agent
