// applets/agent/target.cpp — opens a target process and enters its network namespace.
#include "applets/agent/target.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "applets/agent/environment.h"
#include "applets/agent/resolve.h"
#include "net/file.h"

namespace mirrord::agent {
namespace {

constexpr char kPrivilegeHint[] =
    "Choose a process of your own, or run as root (for example with sudo).";

std::string proc_path(pid_t pid, std::string_view entry) {
  std::string path = "/proc/" + std::to_string(pid) + "/";
  path += entry;
  return path;
}

std::unexpected<Error> gone(const std::string& name) {
  return fail(ErrorCode::kNotFound, name + " does not run",
              "Look up the PID of a running process, for example with 'ps -ef'.");
}

bool has_ended(int pidfd) {
  pollfd poll_entry{.fd = pidfd, .events = POLLIN, .revents = 0};
  return ::poll(&poll_entry, 1, 0) > 0;
}

Result<Fd> open_pidfd(pid_t pid, const std::string& name) {
  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (pidfd)
    return pidfd;
  if (errno == ESRCH || errno == EINVAL)  // EINVAL: a thread's id, not a process's
    return gone(name);
  return fail_system("watch " + name, errno,
                     errno == ENOSYS ? "The agent needs Linux 5.3 or newer." : "");
}

// " (of user 33)", when that is somebody else.
std::string owner_of(pid_t pid) {
  struct stat info {};
  if (::stat(proc_path(pid, "").c_str(), &info) != 0 || info.st_uid == ::geteuid())
    return {};
  return " (of user " + std::to_string(info.st_uid) + ")";
}

// Kernel threads and processes that only wait to be reaped have no program.
bool has_program(pid_t pid) {
  char byte;
  return ::readlink(proc_path(pid, "exe").c_str(), &byte, 1) >= 0 || errno != ENOENT;
}

Result<Fd> open_root(pid_t pid, const std::string& name) {
  Fd root(::open(proc_path(pid, "root").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const int error_number = errno;
  if (root && has_program(pid))
    return root;
  if (root || error_number == ENOENT || error_number == ESRCH) {
    return fail(ErrorCode::kNotFound,
                name + " has no files: it has just ended or is a kernel thread",
                "Choose another process.");
  }
  return fail_system("enter " + name + owner_of(pid), error_number, kPrivilegeHint);
}

// An environment that may not be read leaves the declared one: files and network still work.
Environment capture_environment(pid_t pid, const std::vector<std::string>& declared) {
  Environment environment;
  for (const std::string& entry : declared)
    add_entry(environment, entry);
  const Fd fd(::open(proc_path(pid, "environ").c_str(), O_RDONLY | O_CLOEXEC));
  constexpr std::size_t kLimit = 8 << 20;
  if (fd)
    add_environ(environment, net::read_to_end(fd.get(), kLimit));
  return environment;
}

bool is_own_namespace(int ns, const char* entry) {
  struct stat target {};
  struct stat own {};
  return ::fstat(ns, &target) == 0 &&
         ::stat((std::string("/proc/self/ns/") + entry).c_str(), &own) == 0 &&
         target.st_ino == own.st_ino && target.st_dev == own.st_dev;
}

Result<Fd> open_namespace(const Target& target, const char* entry) {
  Fd ns(::open(proc_path(target.pid, std::string("ns/") + entry).c_str(), O_RDONLY | O_CLOEXEC));
  if (!ns)
    return fail_system(std::string("open the ") + entry + " namespace of " + target.name, errno,
                       kPrivilegeHint);
  if (has_ended(target.pidfd.get()))
    return gone(target.name);
  return ns;
}

}  // namespace

Result<Target> open_process_target(pid_t pid, std::string name,
                                   const std::vector<std::string>& declared) {
  Target target;
  target.pid = pid;
  target.name = std::move(name);
  MIRRORD_TRY(pidfd, open_pidfd(pid, target.name));
  MIRRORD_TRY(root, open_root(pid, target.name));
  target.environment = capture_environment(pid, declared);
  // Whatever was opened after the pidfd belongs to this process only if it still runs now.
  if (has_ended(pidfd.get()))
    return gone(target.name);
  target.pidfd = std::move(pidfd);
  target.root = std::move(root);
  return target;
}

Result<Target> open_own_target() {
  Target target;
  target.name = "this machine";
  target.root = Fd(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!target.root)
    return fail_system("open the root directory", errno);
  target.environment = capture_environment(::getpid(), {});
  return target;
}

Status enter_network(const Target& target) {
  if (target.pid == 0)
    return {};
  MIRRORD_TRY(network, open_namespace(target, "net"));
  if (is_own_namespace(network.get(), "net") || ::setns(network.get(), CLONE_NEWNET) == 0)
    return {};
  const int refused = errno;
  // Without privileges of its own the agent has all of them in a user namespace that its user made.
  MIRRORD_TRY(user, open_namespace(target, "user"));
  if (!is_own_namespace(user.get(), "user") && ::setns(user.get(), CLONE_NEWUSER) == 0 &&
      ::setns(network.get(), CLONE_NEWNET) == 0)
    return {};
  return fail_system("enter the network namespace of " + target.name, refused, kPrivilegeHint);
}

Fd open_in_root(const Target& target, const char* path, int flags, mode_t mode) {
  return open_inside(target.root.get(), path, flags, mode);
}

std::string read_in_root(const Target& target, const char* path, std::size_t limit) {
  const Fd fd = open_in_root(target, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!fd)
    return {};
  errno = 0;
  return net::read_to_end(fd.get(), limit);
}

}  // namespace mirrord::agent
