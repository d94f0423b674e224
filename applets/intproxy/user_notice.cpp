// applets/intproxy/user_notice.cpp — finds the standard error of a running program by /proc.
#include "applets/intproxy/user_notice.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace mirrord::intproxy {
namespace {

// A pipe or terminal is opened by name. A socket has none that can be opened: there the system has
// to allow a copy (pidfd_getfd(2): the same permission as ptrace).
Fd standard_error_of(pid_t process) {
  const std::string path = "/proc/" + std::to_string(process) + "/fd/2";
  Fd opened(::open(path.c_str(), O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (opened.is_open() || errno != ENXIO) {
    return opened;
  }
  const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
  return pidfd.is_open()
             ? Fd(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd.get(), STDERR_FILENO, 0)))
             : Fd();
}

}  // namespace

Fd keep_if_regular(int standard_error) {
  struct stat status {};
  if (::fstat(standard_error, &status) != 0 || !S_ISREG(status.st_mode)) {
    return Fd();
  }
  return Fd(::fcntl(standard_error, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

bool tell_user(const Fd& kept, const std::vector<pid_t>& processes, std::string_view text) {
  const std::string line = "mirrord: warning: " + std::string(text) + "\n";
  const auto write_to = [&](const Fd& out) {
    return out.is_open() && ::write(out.get(), line.data(), line.size()) > 0;
  };
  if (write_to(kept)) {
    return true;
  }
  for (const pid_t process : processes) {
    if (write_to(standard_error_of(process))) {
      return true;
    }
  }
  return false;
}

}  // namespace mirrord::intproxy
