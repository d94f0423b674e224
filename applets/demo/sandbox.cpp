// applets/demo/sandbox.cpp — makes the pod's namespaces and starts its process inside them.
#include "applets/demo/sandbox.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#include "applets/demo/pod.h"

namespace mirrord::demo {
namespace {

constexpr int kStartTimeoutMs = 10'000;
constexpr unsigned long kNamespaces =
    CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC;

struct ChildPlan {
  int program;  // opened with O_PATH
  int control;
  int owner;
  char* const* arguments;
  char* const* environment;
};

// Runs in the new process; only system calls, as after any fork.
[[noreturn]] void run_child(const ChildPlan& plan) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setsid();  // Ctrl-C at the user's terminal is for the user's program
  // Nothing proceeds before the owner has written the identity maps.
  char go = 0;
  if (read(plan.control, &go, 1) != 1)
    _exit(1);
  const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  // The numbers below kOwnerFd may be in use by what moves there: first out of the way.
  const int control = fcntl(plan.control, F_DUPFD_CLOEXEC, 16);
  const int owner = fcntl(plan.owner, F_DUPFD_CLOEXEC, 16);
  const int program = fcntl(plan.program, F_DUPFD_CLOEXEC, 16);
  for (const int standard : {0, 1, 2})
    dup2(nothing, standard);
  dup2(control, kControlFd);
  dup2(owner, kOwnerFd);
  syscall(SYS_close_range, kOwnerFd + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  syscall(SYS_execveat, program, "", plan.arguments, plan.environment, AT_EMPTY_PATH);
  _exit(1);
}

pid_t clone_into(unsigned long flags, const ChildPlan& plan) {
  const long pid = syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (pid == 0)
    run_child(plan);
  return static_cast<pid_t>(pid);
}

Status write_file(const std::string& path, std::string_view text) {
  const Fd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.is_open() || write(file.get(), text.data(), text.size()) < 0)
    return fail_system("write " + path, errno);
  return {};
}

// Every identity that exists here, as itself; what an unprivileged user may not do.
std::string same_identities(const char* map_file) {
  std::string map;
  std::FILE* file = std::fopen(map_file, "re");
  if (file == nullptr)
    return map;
  unsigned inside = 0, outside = 0, count = 0;
  while (std::fscanf(file, "%u %u %u", &inside, &outside, &count) == 3) {
    const std::string begin = std::to_string(inside);
    map += begin + " " + begin + " " + std::to_string(count) + "\n";
  }
  std::fclose(file);
  return map;
}

// Root inside is the caller outside. A privileged caller gets all identities, so that programs in
// the sandbox can change theirs.
Status write_maps(pid_t pid) {
  const std::string process = "/proc/" + std::to_string(pid);
  if (geteuid() == 0 && write_file(process + "/uid_map", same_identities("/proc/self/uid_map")) &&
      write_file(process + "/gid_map", same_identities("/proc/self/gid_map")))
    return {};
  MIRRORD_CHECK_STATUS(write_file(process + "/setgroups", "deny"));
  MIRRORD_CHECK_STATUS(write_file(process + "/uid_map", "0 " + std::to_string(geteuid()) + " 1\n"));
  return write_file(process + "/gid_map", "0 " + std::to_string(getegid()) + " 1\n");
}

std::string privilege_hint() {
  if (geteuid() != 0) {
    return "Let users make namespaces (sysctl user.max_user_namespaces=10000, and where they exist "
           "kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0), "
           "or run it as root: sudo mirrord demo";
  }
  return "Inside a container, start that container with --privileged.";
}

Error refused(std::string_view reason, int error_number) {
  Error error = system_error(std::string("make the demo's namespaces") + std::string(reason),
                             error_number, privilege_hint());
  error.code = ErrorCode::kPermission;
  return error;
}

// The pod's first words: kReady, or what went wrong.
Status wait_until_ready(int control) {
  std::string said;
  std::array<char, 512> part{};
  for (;;) {
    pollfd waiting{.fd = control, .events = POLLIN, .revents = 0};
    const int ready = poll(&waiting, 1, kStartTimeoutMs);
    if (ready < 0 && errno == EINTR)
      continue;
    if (ready == 0)
      return fail(ErrorCode::kTimeout, "start the demo's pod: no answer within 10 s");
    const ssize_t count = recv(control, part.data(), part.size(), 0);
    if (count > 0)
      said.append(part.data(), static_cast<std::size_t>(count));
    if (!said.empty() && said.back() == kReady)
      return {};
    if (count <= 0)
      break;
  }
  if (said.empty())
    said = "its process ended at once";
  const bool was_refused = said.ends_with(strerror(EPERM)) || said.ends_with(strerror(EACCES));
  return fail(was_refused ? ErrorCode::kPermission : ErrorCode::kSystem,
              "start the demo's pod: " + said, was_refused ? privilege_hint() : "");
}

}  // namespace

Result<Sandbox> Sandbox::start(const std::string& program) {
  const Fd program_file(open(program.c_str(), O_PATH | O_CLOEXEC));
  if (!program_file.is_open())
    return fail_system("open " + program, errno);
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return fail_system("make a socket pair", errno);
  Fd owner_end(ends[0]);
  Fd pod_end(ends[1]);
  const Fd owner(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  if (!owner.is_open())
    return fail_system("open a pidfd of this process", errno, "Linux 5.3 or newer is needed.");

  // execveat takes the argument vectors without const, but does not write to them.
  std::vector<char*> environment;
  for (const char* entry : pod_environment())
    environment.push_back(const_cast<char*>(entry));
  environment.push_back(nullptr);
  std::string name = "mirrord", applet = "demo", argument = kPodArgument;
  const std::array<char*, 4> arguments{name.data(), applet.data(), argument.data(), nullptr};
  const ChildPlan plan{program_file.get(), pod_end.get(), owner.get(), arguments.data(),
                       environment.data()};

  bool has_user_namespace = true;
  pid_t pid = clone_into(kNamespaces | CLONE_NEWUSER, plan);
  if (pid < 0 && geteuid() == 0) {
    has_user_namespace = false;
    pid = clone_into(kNamespaces, plan);
  }
  if (pid < 0)
    return std::unexpected(refused("", errno));
  Sandbox sandbox(pid, std::move(owner_end));
  pod_end.reset();
  if (has_user_namespace) {
    if (Status mapped = write_maps(pid); !mapped)
      return std::unexpected(refused(" (" + mapped.error().what + ")", mapped.error().sys));
  }
  if (send(sandbox.control_fd(), "g", 1, MSG_NOSIGNAL) != 1)
    return fail_system("start the demo's pod", errno);
  MIRRORD_CHECK_STATUS(wait_until_ready(sandbox.control_fd()));
  return sandbox;
}

Sandbox::Sandbox(Sandbox&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), control_(std::move(other.control_)) {}

Sandbox& Sandbox::operator=(Sandbox&& other) noexcept {
  if (this != &other) {
    end();
    pid_ = std::exchange(other.pid_, -1);
    control_ = std::move(other.control_);
  }
  return *this;
}

Sandbox::~Sandbox() {
  end();
}

void Sandbox::end() {
  control_.reset();
  if (pid_ <= 0)
    return;
  // It is the first process of its PID namespace: the kernel takes all the others with it.
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

}  // namespace mirrord::demo
