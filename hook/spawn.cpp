// hook/spawn.cpp — remembers the file actions of posix_spawn, and carries them out where they touch
// remote files.
//
// The list is kept beside the C library's own, in the spare words at the end of its object (glibc and
// musl leave 64 bytes there and use none): no table, no lock.
#include "hook/spawn.h"

#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "hook/decide.h"
#include "hook/guard.h"
#include "hook/original.h"
#include "hook/session.h"

namespace mirrord::hook {
namespace {

enum class ActionKind : uint32_t {
  kOpen,
  kClose,
  kDuplicate,
  kChangeDirectory,
  kChangeDirectoryTo,
  kCloseFrom,
  kForeground,
};

struct Action {
  Action* next;
  ActionKind kind;
  int fd;
  int source;  // kDuplicate
  int flags;
  mode_t mode;
  char path[];  // kOpen, kChangeDirectory
};

// The last words of a posix_spawn_file_actions_t.
struct Spare {
  uint64_t mark;
  Action* first;
  Action* last;
};
constexpr uint64_t kMark = 0x736e6f6974634168;
constexpr size_t kObjectSize = 80;
static_assert(sizeof(posix_spawn_file_actions_t) == kObjectSize);

Spare* spare_of(const void* actions) {
  return reinterpret_cast<Spare*>(static_cast<char*>(const_cast<void*>(actions)) + kObjectSize -
                                  sizeof(Spare));
}

const Action* first_of(const void* actions) {
  return actions != nullptr && spare_of(actions)->mark == kMark ? spare_of(actions)->first
                                                                : nullptr;
}

void forget(void* actions) {
  Spare* spare = spare_of(actions);
  if (spare->mark == kMark) {
    const Guard guard;
    for (Action* action = spare->first; action != nullptr;) {
      Action* next = action->next;
      free(action);
      action = next;
    }
  }
  *spare = {0, nullptr, nullptr};
}

// Behind a call of the original that was successful. Returns 0 or ENOMEM.
int remember(void* actions, ActionKind kind, int fd, int source = -1, const char* path = nullptr,
             int flags = 0, mode_t mode = 0) {
  if (!is_active()) {
    return 0;
  }
  const Guard guard;
  const size_t size = path != nullptr ? strlen(path) + 1 : 0;
  auto* action = static_cast<Action*>(malloc(sizeof(Action) + size));
  if (action == nullptr) {
    return ENOMEM;
  }
  *action = {nullptr, kind, fd, source, flags, mode};
  if (path != nullptr) {
    memcpy(action->path, path, size);
  }
  Spare* spare = spare_of(actions);
  if (spare->mark != kMark) {
    *spare = {kMark, nullptr, nullptr};
  }
  (spare->last != nullptr ? spare->last->next : spare->first) = action;
  spare->last = action;
  return 0;
}

bool is_remote_descriptor(int fd) {
  return has_record(fd) && RecordRef(fd, RecordType::kFile);
}

bool is_write(int flags) {
  return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC | O_APPEND)) != 0;
}

// ---- in the child. Each returns 0 or an errno.

int error_of(int result) {
  return result < 0 ? errno : 0;
}

int open_at(const Action& action) {
  hk_close(action.fd);
  const int fd = hk_open(action.path, action.flags, action.mode);
  if (fd < 0 || fd == action.fd) {
    return error_of(fd);
  }
  const int error = error_of(hk_dup2(fd, action.fd));
  hk_close(fd);
  return error;
}

int duplicate(const Action& action) {
  if (action.fd != action.source) {
    return error_of(hk_dup2(action.source, action.fd));
  }
  const int flags = hk_fcntl(action.fd, F_GETFD);
  return error_of(flags < 0 ? flags : hk_fcntl(action.fd, F_SETFD, flags & ~FD_CLOEXEC));
}

// At the exec: what the parent waits on stays open until then.
int close_from(int first) {
  constexpr unsigned kCloseOnExec = 4;  // CLOSE_RANGE_CLOEXEC
  if (failed(raw(SYS_close_range, first, ~0U, kCloseOnExec))) {
    hk_closefrom(first);
  }
  return 0;
}

int carry_out(const Action& action) {
  switch (action.kind) {
    case ActionKind::kOpen:
      return open_at(action);
    case ActionKind::kClose:
      hk_close(action.fd);
      return 0;
    case ActionKind::kDuplicate:
      return duplicate(action);
    case ActionKind::kChangeDirectory:
      return error_of(hk_chdir(action.path));
    case ActionKind::kChangeDirectoryTo:
      return error_of(hk_fchdir(action.fd));
    case ActionKind::kCloseFrom:
      return close_from(action.fd);
    case ActionKind::kForeground:
      return error_of(tcsetpgrp(action.fd, getpgrp()));
  }
  return EINVAL;
}

int reset_signals(const posix_spawnattr_t* attributes) {
  sigset_t defaults;
  posix_spawnattr_getsigdefault(attributes, &defaults);
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  for (int number = 1; number <= 64; ++number) {
    if (sigismember(&defaults, number) == 1) {
      ORIGINAL(sigaction)(number, &action, nullptr);
    }
  }
  return 0;
}

int set_scheduling(const posix_spawnattr_t* attributes, short flags) {
  sched_param parameters = {};
  posix_spawnattr_getschedparam(attributes, &parameters);
  if ((flags & POSIX_SPAWN_SETSCHEDULER) != 0) {
    int policy = 0;
    posix_spawnattr_getschedpolicy(attributes, &policy);
    return error_of(sched_setscheduler(0, policy, &parameters));
  }
  return error_of(sched_setparam(0, &parameters));
}

int apply_attributes(const posix_spawnattr_t* attributes, short flags) {
  int error = 0;
  if ((flags & POSIX_SPAWN_SETSIGDEF) != 0) {
    error = reset_signals(attributes);
  }
  if (error == 0 && (flags & (POSIX_SPAWN_SETSCHEDULER | POSIX_SPAWN_SETSCHEDPARAM)) != 0) {
    error = set_scheduling(attributes, flags);
  }
  if (error == 0 && (flags & POSIX_SPAWN_SETSID) != 0) {
    error = error_of(setsid());
  }
  if (error == 0 && (flags & POSIX_SPAWN_SETPGROUP) != 0) {
    pid_t group = 0;
    posix_spawnattr_getpgroup(attributes, &group);
    error = error_of(setpgid(0, group));
  }
  if (error == 0 && (flags & POSIX_SPAWN_RESETIDS) != 0) {
    error = error_of(setegid(getgid()));
    error = error != 0 ? error : error_of(seteuid(getuid()));
  }
  return error;
}

int become(const char* file, bool search, const void* actions, const posix_spawnattr_t* attributes,
           sigset_t mask, char* const* arguments, char* const* variables) {
  short flags = 0;
  if (attributes != nullptr) {
    posix_spawnattr_getflags(attributes, &flags);
    if (const int error = apply_attributes(attributes, flags)) {
      return error;
    }
  }
  for (const Action* action = first_of(actions); action != nullptr; action = action->next) {
    if (const int error = carry_out(*action)) {
      return error;
    }
  }
  if ((flags & POSIX_SPAWN_SETSIGMASK) != 0) {
    posix_spawnattr_getsigmask(attributes, &mask);
  }
  ORIGINAL(pthread_sigmask)(SIG_SETMASK, &mask, nullptr);
  search ? hk_execvpe(file, arguments, variables) : hk_execve(file, arguments, variables);
  return errno;
}

}  // namespace

bool names_remote_files(const void* actions) {
  if (!files_active()) {
    return false;
  }
  const SavedErrno saved;
  for (const Action* action = first_of(actions); action != nullptr; action = action->next) {
    const bool is_open = action->kind == ActionKind::kOpen;
    if (is_open || action->kind == ActionKind::kChangeDirectory) {
      const Target target(action->path, is_open && is_write(action->flags));
      if (!target.is_local() || target.path() != action->path) {  // remote, or mapped
        return true;
      }
    } else if (action->kind == ActionKind::kDuplicate ? is_remote_descriptor(action->source)
               : action->kind == ActionKind::kChangeDirectoryTo ? is_remote_descriptor(action->fd)
                                                                : false) {
      return true;
    }
  }
  return false;
}

int spawn_by_fork(pid_t* child, const char* file, bool search, const void* actions,
                  const void* attributes, char* const* arguments, char* const* variables) {
  const SavedErrno saved;
  const long page = raw(SYS_mmap, nullptr, sizeof(int), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (failed(page)) {
    return static_cast<int>(-page);
  }
  auto* child_error = reinterpret_cast<volatile int*>(page);
  sigset_t all;
  sigset_t mask;
  sigfillset(&all);
  ORIGINAL(pthread_sigmask)(SIG_SETMASK, &all, &mask);  // no handler of the program in the child
  const pid_t made = hk_vfork();  // returns here when the child has exec'ed or ended
  if (made == 0) {
    *child_error = become(file, search, actions, static_cast<const posix_spawnattr_t*>(attributes),
                          mask, arguments, variables);
    raw(SYS_exit_group, 127);
  }
  int error = made < 0 ? errno : *child_error;
  ORIGINAL(pthread_sigmask)(SIG_SETMASK, &mask, nullptr);
  if (made > 0 && error != 0) {
    while (raw(SYS_wait4, made, nullptr, 0, nullptr) == -EINTR) {
    }
  } else if (made > 0 && child != nullptr) {
    *child = made;
  }
  raw(SYS_munmap, page, sizeof(int));
  return error;
}

}  // namespace mirrord::hook

using namespace mirrord::hook;

int hk_posix_spawn_file_actions_init(void* actions) {
  const int result = ORIGINAL(posix_spawn_file_actions_init)(actions);
  if (result == 0) {
    *spare_of(actions) = {0, nullptr, nullptr};
  }
  return result;
}

int hk_posix_spawn_file_actions_destroy(void* actions) {
  forget(actions);
  return ORIGINAL(posix_spawn_file_actions_destroy)(actions);
}

int hk_posix_spawn_file_actions_addopen(void* actions, int fd, const char* path, int flags,
                                        mode_t mode) {
  const int result = ORIGINAL(posix_spawn_file_actions_addopen)(actions, fd, path, flags, mode);
  return result != 0 ? result : remember(actions, ActionKind::kOpen, fd, -1, path, flags, mode);
}

int hk_posix_spawn_file_actions_addclose(void* actions, int fd) {
  const int result = ORIGINAL(posix_spawn_file_actions_addclose)(actions, fd);
  return result != 0 ? result : remember(actions, ActionKind::kClose, fd);
}

int hk_posix_spawn_file_actions_adddup2(void* actions, int from, int to) {
  const int result = ORIGINAL(posix_spawn_file_actions_adddup2)(actions, from, to);
  return result != 0 ? result : remember(actions, ActionKind::kDuplicate, to, from);
}

int hk_posix_spawn_file_actions_addchdir_np(void* actions, const char* path) {
  const int result = ORIGINAL(posix_spawn_file_actions_addchdir_np)(actions, path);
  return result != 0 ? result : remember(actions, ActionKind::kChangeDirectory, -1, -1, path);
}

int hk_posix_spawn_file_actions_addfchdir_np(void* actions, int fd) {
  const int result = ORIGINAL(posix_spawn_file_actions_addfchdir_np)(actions, fd);
  return result != 0 ? result : remember(actions, ActionKind::kChangeDirectoryTo, fd);
}

int hk_posix_spawn_file_actions_addclosefrom_np(void* actions, int first) {
  const int result = ORIGINAL(posix_spawn_file_actions_addclosefrom_np)(actions, first);
  return result != 0 ? result : remember(actions, ActionKind::kCloseFrom, first);
}

int hk_posix_spawn_file_actions_addtcsetpgrp_np(void* actions, int fd) {
  const int result = ORIGINAL(posix_spawn_file_actions_addtcsetpgrp_np)(actions, fd);
  return result != 0 ? result : remember(actions, ActionKind::kForeground, fd);
}
