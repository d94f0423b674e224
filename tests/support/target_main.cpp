// tests/support/target_main.cpp — a target for tests: `agent_target ROOT` runs a process in user,
// mount, network and PID namespaces of its own with the folder ROOT as its root directory.
//
// Prints "ready PID" (the PID as its caller sees it) and ends when its standard input does. ROOT/proc
// gets a proc file system and ROOT/mem one in memory, where those folders exist.
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

[[noreturn]] void give_up(const char* tried) {
  std::fprintf(stderr, "agent_target: %s: %s\n", tried, std::strerror(errno));
  std::_Exit(1);
}

void write_text(const char* path, const char* text) {
  FILE* file = std::fopen(path, "we");
  if (file == nullptr || std::fputs(text, file) < 0 || std::fclose(file) != 0)
    give_up(path);
}

void enter_namespaces() {
  const unsigned user = ::geteuid();
  const unsigned group = ::getegid();
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID) != 0)
    give_up("make namespaces");
  char map[64];
  write_text("/proc/self/setgroups", "deny");
  std::snprintf(map, sizeof map, "0 %u 1", user);
  write_text("/proc/self/uid_map", map);
  std::snprintf(map, sizeof map, "0 %u 1", group);
  write_text("/proc/self/gid_map", map);
}

void raise_loopback() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(fd, SIOCSIFFLAGS, &request) != 0)
    give_up("raise the loopback interface");
  ::close(fd);
}

void change_root(const char* root) {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount(root, root, nullptr, MS_BIND | MS_REC, nullptr) != 0 || ::chdir(root) != 0)
    give_up("mount the root");
  if (::access("proc", F_OK) == 0 && ::mount("proc", "proc", "proc", 0, nullptr) != 0)
    give_up("mount proc");
  if (::access("mem", F_OK) == 0 && ::mount("mem", "mem", "tmpfs", 0, "size=64m") != 0)
    give_up("mount mem");
  if (::syscall(SYS_pivot_root, ".", ".") != 0 || ::umount2(".", MNT_DETACH) != 0)
    give_up("change the root");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2)
    return 2;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  enter_namespaces();
  int ready[2];
  if (::pipe(ready) != 0)
    give_up("make a pipe");
  const pid_t child = ::fork();
  if (child < 0)
    give_up("fork");
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    change_root(argv[1]);
    raise_loopback();
    if (::write(ready[1], "x", 1) != 1)
      give_up("report");
    char byte;
    while (::read(STDIN_FILENO, &byte, 1) > 0) {
    }
    std::_Exit(0);
  }
  ::close(ready[1]);
  char byte;
  if (::read(ready[0], &byte, 1) != 1)
    return 1;
  std::printf("ready %d\n", child);
  std::fflush(stdout);
  ::close(STDIN_FILENO);
  int status = 0;
  ::waitpid(child, &status, 0);
  return 0;
}
