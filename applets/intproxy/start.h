// applets/intproxy/start.h — how the command line starts a session's intproxy and learns when the
// program may run.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "applets/config/config.h"
#include "applets/intproxy/load_watch.h"
#include "applets/intproxy/tls_delivery.h"
#include "applets/log/log.h"
#include "k8s/agent_session.h"
#include "net/error.h"
#include "net/fd.h"
#include "net/tls_context.h"
#include "proto/local.h"

namespace mirrord::intproxy {

inline constexpr char kProcessName[] = "mirrord-intprox";

// Where the agent is. Exactly one of the five is set.
struct AgentSource {
  Fd stream;                                          // a connected socket
  std::string address;                                // HOST:PORT of a running agent
  std::string stream_server;                          // a UNIX socket that hands streams out
  std::unique_ptr<k8s::AgentSessionRequest> cluster;  // a target in a cluster
  std::vector<std::string> command;  // arguments of an agent to spawn, without the program's name:
                                     // {"agent", "…"}; `--stream-fd N` is appended
  std::string program = "/proc/self/exe";  // what runs `command`
  // With `address`: the agent demands TLS, in which we are the server with this certificate.
  net::TlsIdentity tls;
};

// The answer to kMapPath.
struct MappedPath {
  local::Decision read = local::Decision::kLocal;
  local::Decision write = local::Decision::kLocal;
  std::string path;
};

struct SessionOptions {
  std::string directory;  // exists, 0700; holds `settings` already. Removed at the end
  pid_t root_pid = 0;     // becomes the user's program; 0: filled in by start_session (the caller)
  // The root process only starts the session: others run the programs, later and one after the other.
  bool waits_for_programs = false;
  AgentSource agent;
  // The programs are in a container: of any user there (the directory's parents keep others out), and where their standard
  // error cannot be found.
  bool serves_container = false;
  log::Settings log;
  Fd log_file;  // closed: DIRECTORY/log

  std::chrono::milliseconds connect_timeout{30'000};     // start or connect, and handshake
  std::chrono::milliseconds start_idle_timeout{60'000};  // no root process and no connection at all
  std::chrono::milliseconds idle_timeout{5'000};
  std::chrono::milliseconds ping_interval{30'000};
  std::chrono::milliseconds reply_limit{300'000};  // AgentLink::Options
  // How long to try to reach the agent again; 0: never, a broken connection ends the session.
  std::chrono::milliseconds reconnect_timeout{30'000};
  std::size_t readonly_file_buffer = 128'000;  // 0: nothing is kept, every read goes to the agent

  // Names with the wildcards * and ?, as GetEnvVarsRequest wants them.
  bool fetch_environment = true;
  std::vector<std::string> environment_include;  // empty: all
  std::vector<std::string> environment_exclude;

  config::IncomingRules incoming;
  TlsTrust tls_trust;  // of `incoming.tls_delivery`

  // Answers kMapPath. Runs in the intproxy; empty: no path is ever mapped.
  std::function<MappedPath(std::string_view path)> map_path;

  // Kept open until the session has ended, so that others notice.
  std::vector<Fd> lifelines;

  // Where the user is told of broken connections; closed: on the standard error of the program,
  // found when it is needed (user_notice.h).
  Fd notices;

  // Both set: the user is told there when the root process runs without the hook. Without a root
  // process `explain_not_loaded` alone: told on the program's own standard error.
  Fd standard_error;
  ExplainNotLoaded explain_not_loaded;
};

// A part of the start, and how long it took.
struct StartTiming {
  std::string part;
  std::chrono::microseconds time{};
};

struct StartedSession {
  std::map<std::string, std::string> environment;  // of the target
  std::string agent_version;                       // the settled protocol version
  bool has_flight = false;                         // the agent is one of ours
  pid_t intproxy_pid = 0;
  std::vector<StartTiming> timings;
};

// What the user sees of a start. Steps do not nest: kDone ends the last kBegin.
enum class StartStep : char { kBegin = 'B', kDone = 'D', kWarning = 'W', kInfo = 'P' };
using StartProgress = std::function<void(StartStep step, std::string_view text)>;

// Forks the intproxy (double fork, own session, standard descriptors on /dev/null) and waits until
// it has reached the agent. `progress` gets the steps as they happen. On an error nothing is
// left behind but the session directory. Call while the process has one thread.
Result<StartedSession> start_session(SessionOptions options, const StartProgress& progress);

// The intproxy itself in the present process, without a fork: for `mirrord intproxy` and tests.
// Reports through `report_fd` in the form that start_session reads. Returns when the session ends.
Status serve_session(SessionOptions options, Fd report_fd);

}  // namespace mirrord::intproxy
