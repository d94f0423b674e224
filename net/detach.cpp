// net/detach.cpp — closes ranges of descriptors (close_range(2)).
#include "net/detach.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>

namespace mirrord::net {

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

}  // namespace mirrord::net
