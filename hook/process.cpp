// hook/process.cpp — the hooks that make processes: fork and its kin. The child starts with a copy
// of the remote files, under a key of its own.
#include <pty.h>
#include <utmp.h>

#include "hook/ipc.h"
#include "hook/original.h"
#include "hook/session.h"

using namespace mirrord::hook;

namespace {

pid_t fork_with(original_fork fork_function) {
  if (!is_active()) {
    return fork_function();
  }
  ForkHandover handover;
  prepare_fork(handover);
  pid_t child = fork_function();
  SavedErrno saved;
  if (child == 0) {
    finish_fork_in_child(handover);
  } else {
    finish_fork_in_parent(handover);
  }
  return child;
}

// The child of vfork holds the writing end until it execs or exits; the parent waits for that.
void wait_for_exec(const int (&ends)[2]) {
  raw(SYS_close, ends[1]);
  char byte;
  while (raw(SYS_read, ends[0], &byte, 1) == -EINTR) {
  }
  raw(SYS_close, ends[0]);
}

}  // namespace

extern "C" {

pid_t hk_fork() {
  return fork_with(ORIGINAL(fork));
}

pid_t hk__Fork() {
  return fork_with(has_original(kOriginal__Fork) ? ORIGINAL(_Fork) : ORIGINAL(fork));
}

// A real fork: the child may not change this process's tables. What else programs expect of vfork
// is kept: the parent goes on when the child has exec'ed or ended.
pid_t hk_vfork() {
  int ends[2];
  if (failed(raw(SYS_pipe2, ends, O_CLOEXEC))) {
    return hk_fork();
  }
  int writer = place_high(ends[1]);
  ends[0] = place_high(ends[0]);
  ends[1] = writer;
  pid_t child = hk_fork();
  if (child == 0) {
    raw(SYS_close, ends[0]);
    return 0;
  }
  SavedErrno saved;
  wait_for_exec(ends);
  return child;
}

int hk_daemon(int keep_directory, int keep_descriptors) {
  pid_t child = hk_fork();
  if (child != 0) {
    if (child > 0) {
      raw(SYS_exit_group, 0);
    }
    return -1;
  }
  if (failed(raw(SYS_setsid))) {
    return fail_with(EPERM);
  }
  if (keep_directory == 0) {
    raw(SYS_chdir, "/");
  }
  if (keep_descriptors == 0) {
    int null = hk_open("/dev/null", O_RDWR);
    for (int fd = 0; null >= 0 && fd <= 2; ++fd) {
      hk_dup2(null, fd);
    }
    if (null > 2) {
      hk_close(null);
    }
  }
  return 0;
}

int hk_forkpty(int* terminal, char* name, const struct termios* settings,
               const struct winsize* size) {
  using OpenFunction = int (*)(int*, int*, char*, const struct termios*, const struct winsize*);
  using LoginFunction = int (*)(int);
  auto open_function = reinterpret_cast<OpenFunction>(find_symbol("openpty"));
  auto login_function = reinterpret_cast<LoginFunction>(find_symbol("login_tty"));
  if (!is_active() || open_function == nullptr || login_function == nullptr) {
    return ORIGINAL(forkpty)(terminal, name, settings, size);
  }
  int master = -1;
  int slave = -1;
  if (open_function(&master, &slave, name, settings, size) != 0) {
    return -1;
  }
  pid_t child = hk_fork();
  if (child == 0) {
    hk_close(master);
    if (login_function(slave) != 0) {
      raw(SYS_exit_group, 1);
    }
    return 0;
  }
  SavedErrno saved;
  hk_close(slave);
  if (child < 0) {
    hk_close(master);
  } else {
    *terminal = master;
  }
  return child;
}

}  // extern "C"
