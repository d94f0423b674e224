// applets/doctor_checks.cpp — this machine: the program itself, its hook, what the kernel offers.
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>

#include "applets/doctor.h"
#include "applets/hook_file.h"
#include "applets/version.h"
#include "net/fd.h"
#include "proto/version.h"

namespace mirrord {
namespace {

// openat2(2), as the kernel's header has it; older C libraries do not.
struct OpenHow {
  std::uint64_t flags, mode, resolve;
};
constexpr std::uint64_t kResolveInRoot = 0x10;

int error_of(long result) {
  return result < 0 ? errno : 0;
}

int try_memfd() {
  const Fd memory(::memfd_create("doctor", MFD_CLOEXEC));
  return memory.is_open() ? 0 : errno;
}

int try_pidfd() {
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  return process.is_open() ? 0 : errno;
}

int try_openat2() {
  const Fd root(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  OpenHow how{O_PATH | O_CLOEXEC, 0, kResolveInRoot};
  const Fd opened(static_cast<int>(::syscall(SYS_openat2, root.get(), ".", &how, sizeof how)));
  return opened.is_open() ? 0 : errno;
}

int try_user_notification() {
  std::uint32_t action = SECCOMP_RET_USER_NOTIF;
  return error_of(::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action));
}

// In a child: this process must stay where it is.
int try_user_namespace() {
  const pid_t child = ::fork();
  if (child < 0) {
    return errno;
  }
  if (child == 0) {
    ::_exit(::unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) == 0 ? 0 : errno);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : EPERM;
}

struct Feature {
  const char* name;
  int (*attempt)();
  const char* use;
  const char* hint;
  enum class Need { kAlways, kAgentHere, kDemo, kNever } need;
};

constexpr Feature kFeatures[] = {
    {"memfd_create", try_memfd, "contents of remote files", "Linux 3.17 or later is needed.",
     Feature::Need::kAlways},
    {"pidfd_open", try_pidfd, "the end of programs and targets", "Linux 5.3 or later is needed.",
     Feature::Need::kAlways},
    {"openat2", try_openat2, "an agent on this machine stays inside its target's root",
     "Linux 5.6 or later is needed where the agent runs.", Feature::Need::kAgentHere},
    {"user namespaces", try_user_namespace, "`demo` makes its pod without root",
     "Allow them: sysctl kernel.unprivileged_userns_clone=1, on Ubuntu also "
     "kernel.apparmor_restrict_unprivileged_userns=0; or run as root.",
     Feature::Need::kDemo},
    {"seccomp user notification", try_user_notification,
     "static programs and Go (not used in this version)", "Linux 5.0 or later offers it.",
     Feature::Need::kNever},
};

}  // namespace

void check_client(DoctorReport& report) {
  report.ok("client", std::string("mirrord ") + kVersion + ", protocol version " +
                          proto::client_version().to_string());
  const auto hook = provide_hook();
  if (hook) {
    report.ok("hook", *hook);
  } else {
    report.failed("hook", hook.error());
  }
}

void check_kernel(DoctorReport& report, bool runs_agent_here, bool is_demo) {
  utsname system{};
  ::uname(&system);
  report.ok("kernel", std::string(system.sysname) + " " + system.release + " " + system.machine);
  for (const Feature& feature : kFeatures) {
    const int error = feature.attempt();
    if (error == 0) {
      report.ok(feature.name, feature.use);
      continue;
    }
    const bool is_needed = feature.need == Feature::Need::kAlways ||
                           (feature.need == Feature::Need::kAgentHere && runs_agent_here) ||
                           (feature.need == Feature::Need::kDemo && is_demo);
    report.add({feature.name, is_needed ? CheckState::kFailed : CheckState::kWarning,
                system_error(feature.use, error).what, feature.hint});
  }
}

}  // namespace mirrord
