// applets/demo/pod.cpp — the pod's process: makes its surroundings, then serves until its owner ends.
#include "applets/demo/pod.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace mirrord::demo {
namespace {

Status must(int result, const char* tried) {
  return result == 0 ? Status{} : fail_system(tried, errno);
}

// The new root is a tmpfs that is mounted in this namespace only; it goes with the namespace.
Status make_root() {
  constexpr char kPlace[] = "/tmp";  // any folder that is certain to exist
  MIRRORD_CHECK_STATUS(
      must(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "make the mounts private"));
  MIRRORD_CHECK_STATUS(must(
      mount("demo", kPlace, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=512m"), "mount a tmpfs"));
  MIRRORD_CHECK_STATUS(must(chdir(kPlace), "enter the new root"));
  MIRRORD_CHECK_STATUS(make_tree());
  // Refused inside some containers; the pod does without it then.
  static_cast<void>(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr));
  MIRRORD_CHECK_STATUS(
      must(static_cast<int>(syscall(SYS_pivot_root, ".", ".")), "change the root"));
  MIRRORD_CHECK_STATUS(must(umount2(".", MNT_DETACH), "leave the old root"));
  return must(chdir("/"), "enter the new root");
}

Status set_up() {
  MIRRORD_CHECK_STATUS(must(sethostname(kPodName, sizeof kPodName - 1), "set the host name"));
  MIRRORD_CHECK_STATUS(make_network());
  return make_root();
}

void say(std::string_view text) {
  static_cast<void>(send(kControlFd, text.data(), text.size(), MSG_NOSIGNAL));
}

int give_up(const Error& error) {
  say(error.what);
  return 1;
}

}  // namespace

int pod_main() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGCHLD, SIG_IGN);  // as first process of the namespace it inherits all orphans
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  for (const int fd : {kControlFd, kOwnerFd})
    fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (const Status done = set_up(); !done)
    return give_up(done.error());

  net::Loop loop;
  Result<Services> services = start_services(loop);
  if (!services)
    return give_up(services.error());
  // The owner says nothing: readable means that its end, or it itself, is gone.
  net::FdWatcher control(loop, kControlFd, [&loop](int) { loop.stop(); });
  net::FdWatcher owner(loop, kOwnerFd, [&loop](int) { loop.stop(); });
  net::SignalWatcher terminate(loop, SIGTERM, [&loop] { loop.stop(); });
  control.watch(net::FdWatcher::kReadable);
  owner.watch(net::FdWatcher::kReadable);
  say(std::string_view(&kReady, 1));
  loop.run();
  _exit(0);  // nothing outlives the namespaces: no need to take things down one by one
}

}  // namespace mirrord::demo
