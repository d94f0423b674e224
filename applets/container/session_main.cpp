// applets/container/session_main.cpp — `mirrord container-session`: what runs in the proxy's container. Serves the session
// in that container's network, where the program's container is too.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "applets/applet.h"
#include "applets/container/request.h"
#include "applets/exec.h"
#include "applets/json_error.h"
#include "applets/progress.h"
#include "applets/session_start.h"
#include "applets/timings.h"

namespace mirrord {
namespace {

// Whom the directory belongs to: what is made in it can then be removed by its owner, and no privilege is left.
Status become_owner_of(const std::string& directory) {
  struct stat status {};
  if (stat(directory.c_str(), &status) != 0)
    return fail_system("use the directory " + directory, errno);
  if (status.st_uid == geteuid())
    return {};
  if (setgid(status.st_gid) != 0 || setuid(status.st_uid) != 0)
    return fail_system("become the user " + std::to_string(status.st_uid), errno);
  return {};
}

Status serve(const std::string& directory) {
  using namespace container;  // NOLINT(google-build-using-namespace)
  MIRRORD_CHECK_STATUS(become_owner_of(directory));
  MIRRORD_TRY(load, read_request(directory));
  auto config = config::load(load);
  if (!config)
    return std::unexpected(config_error(config.error()));
  const std::string share = kShare;
  SessionPlan plan{.command = "container"};
  plan.waits_for_programs = true;
  plan.placement = {.directory = share + "/" + kSessionName,
                    .hook_path = share + "/" + kHookName,
                    .stream_server = directory + "/" + kStreamsName};
  if (mkdir(plan.placement->directory.c_str(), 0755) != 0 ||
      chmod(plan.placement->directory.c_str(), 0755) != 0)
    return fail_system("make the directory " + plan.placement->directory, errno);
  // The first process of a container is not ended by a signal that it does not handle; the others go with it.
  signal(SIGTERM, [](int) { _exit(0); });
  Progress silent(ProgressMode::kOff, "");
  Timings timings(false);
  SessionStart session(*config, silent, timings);
  MIRRORD_CHECK_STATUS(session.start(plan));
  MIRRORD_CHECK_STATUS(write_outcome(directory, session.remote_environment()));
  silent.success();
  std::puts("ready");
  std::fflush(stdout);
  session.release_and_wait();
  return {};
}

}  // namespace

int container_session_main(int argc, char** argv) {
  if (argc != 2)
    return report_error({ErrorCode::kUsage, "one directory is expected",
                         "`mirrord container` starts this by itself.", 0});
  const Status served = serve(argv[1]);
  if (served)
    return 0;
  // The command outside reads it; if even that fails, from standard error.
  if (!container::write_outcome(argv[1], std::unexpected(served.error())))
    return report_error(served.error());
  return 1;
}

}  // namespace mirrord
