// applets/agent/redirect/table_guard.cpp — forks the guard, which makes nothing but system calls: the agent has threads.
#include "applets/agent/redirect/table_guard.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "applets/agent/privileges.h"
#include "applets/agent/redirect/netfilter_batch.h"

namespace mirrord::agent {
namespace {

[[noreturn]] void guard(int pipe, int netlink, std::span<const std::byte> removal) {
  // The agent's descriptors would keep its connections open after its end.
  constexpr int kPipe = 3;
  constexpr int kNetlink = 4;
  const int kept_pipe = ::fcntl(pipe, F_DUPFD, 10);
  const int kept_netlink = ::fcntl(netlink, F_DUPFD, 10);
  ::dup2(kept_pipe, kPipe);
  ::dup2(kept_netlink, kNetlink);
  ::close_range(kNetlink + 1, ~0U, 0);
  // Whatever ends the agent's process group is not to end this one.
  ::setsid();
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE})
    ::signal(signal, SIG_IGN);
  ::prctl(PR_SET_NAME, "mirrord-guard");
  const RaisedNetAdmin raised;
  char byte = 0;
  while (::read(kPipe, &byte, 1) < 0 && errno == EINTR) {
  }
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  ::sendto(kNetlink, removal.data(), removal.size(), 0, reinterpret_cast<sockaddr*>(&kernel),
           sizeof kernel);
  ::_exit(0);
}

}  // namespace

Result<TableGuard> TableGuard::start(std::vector<std::byte> removal) {
  MIRRORD_TRY(netlink, open_netfilter_socket());
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return fail_system("make a pipe", errno);
  const Fd reading(ends[0]);
  Fd writing(ends[1]);
  const pid_t process = ::_Fork();
  if (process < 0)
    return fail_system("start a process that removes the nftables table", errno);
  if (process == 0)
    guard(reading.get(), netlink.get(), removal);
  return TableGuard(std::move(writing), process);
}

TableGuard::TableGuard(TableGuard&& other) noexcept
    : pipe_(std::move(other.pipe_)), process_(std::exchange(other.process_, 0)) {}

TableGuard::~TableGuard() {
  pipe_.reset();
  if (process_ > 0) {
    while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
}

}  // namespace mirrord::agent
