// applets/session_start.h — the start of a session, which `exec` and the editors' `ext` share.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "applets/child_environment.h"
#include "applets/command_log.h"
#include "applets/config/config.h"
#include "applets/intproxy/start.h"
#include "applets/progress.h"
#include "applets/session_directory.h"
#include "applets/timings.h"
#include "net/error.h"
#include "net/fd.h"

namespace mirrord {

// Of every program of a session; its presence marks a nested start.
inline constexpr char kResolvedConfigVariable[] = "MIRRORD_RESOLVED_CONFIG";

// What is known of the programs that the session is for.
struct SessionPlan {
  std::string_view command;  // whose log it is
  std::vector<std::string>
      local_files;                   // to be read on this machine, for a program to start at all
  bool is_go = false;                // let Go look names up through libc
  bool explains_not_loaded = false;  // tell the user when a program runs without the hook
  // Someone else starts the programs, later: this process is none of them.
  bool waits_for_programs = false;
  // The programs are in another container, of any user and with files of their own: where the session's
  // parts lie there and here, and who holds its agent.
  struct Placement {
    std::string directory;      // made already
    std::string hook_path;      // there already
    std::string stream_server;  // intproxy/stream_server.h
  };
  std::optional<Placement> placement;
};

// A short description of the run. Its presence marks a nested `exec`; secrets stay out of it.
std::string resolved_config_text(const config::ResolvedConfig& config);

// The whole path, as the hook's rules and the program's children see it.
std::string absolute_path(const std::string& path);

class SessionStart {
 public:
  // All three live longer.
  SessionStart(const config::ResolvedConfig& config, Progress& progress, Timings& timings);
  SessionStart(const SessionStart&) = delete;
  SessionStart& operator=(const SessionStart&) = delete;
  ~SessionStart();  // a session that nobody has got ends

  void show_warnings() const;  // of the configuration, and of the target
  // Hook, settings, intproxy and agent. On an error everything that it started has ended.
  Status start(const SessionPlan& plan);
  // What a program of the session starts with.
  struct Program {
    const char* const* inherited;                 // NAME=value, ends with null
    std::span<const std::string> arguments = {};  // empty: somebody else starts it
    config::StringPairs last = {};                // set over everything
  };
  // When it is too large for a start here, or the configuration says so, the program loads the target's part itself.
  Result<VariableList> environment(const Program& program) const;
  [[nodiscard]] const std::map<std::string, std::string>& remote_environment() const {
    return remote_;
  }
  // The session is in use from here on, and outlives this object.
  void release();
  // The same, and waits for its end.
  void release_and_wait();

 private:
  void log_configuration() const;
  void log_replaced_variables(const char* const* inherited, const VariableList& whole) const;
  Result<std::vector<Fd>> start_local_redis() const;  // what keeps the servers alive
  Fd open_log_file() const;                           // the one that the configuration names
  Result<intproxy::StartedSession> run(intproxy::SessionOptions options);

  const config::ResolvedConfig& config_;
  Progress& progress_;
  Timings& timings_;
  CommandLog log_;                                     // from start() on
  std::unique_ptr<k8s::AgentSessionRequest> cluster_;  // until the session has it
  std::unique_ptr<SessionDirectory> directory_;
  SessionVariables variables_;
  std::map<std::string, std::string> remote_;  // environment of the target
  Fd intproxy_;                                // pidfd, until the session is in use
};

}  // namespace mirrord
