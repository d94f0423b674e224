// net/detach.cpp — two forks, and ranges of descriptors to close (close_range(2)).
#include "net/detach.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace mirrord::net {
namespace {

void detach(std::vector<int> kept) {
  const int null = ::open("/dev/null", O_RDWR);
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    ::dup2(null, fd);
  }
  std::ranges::sort(kept);
  unsigned first = STDERR_FILENO + 1;
  for (const int fd : kept) {
    if (fd <= STDERR_FILENO) {
      continue;
    }
    const auto number = static_cast<unsigned>(fd);
    if (number > first) {
      ::close_range(first, number - 1, 0);
    }
    first = number + 1;
  }
  ::close_range(first, ~0U, 0);
  for (int signal_number = 1; signal_number < NSIG; ++signal_number) {
    ::signal(signal_number, SIG_DFL);
  }
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);  // NOLINT(concurrency-mt-unsafe): one thread
}

}  // namespace

Status start_detached(const DetachedProcess& process, std::string_view tried,
                      const std::function<void()>& main) {
  const pid_t child = ::fork();
  if (child < 0) {
    return fail_system(tried, errno);
  }
  if (child == 0) {
    ::setsid();
    if (::fork() == 0) {
      detach(process.kept);
      ::prctl(PR_SET_NAME, process.name);
      main();
    }
    ::_exit(0);
  }
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return {};
}

}  // namespace mirrord::net
