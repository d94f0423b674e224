// hook/connection_pool.cpp — the process's connections to the intproxy, across fork and programs
// that close every descriptor.
#include "hook/connection_pool.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "hook/fd_table.h"
#include "hook/ipc.h"
#include "hook/patience.h"
#include "hook/session.h"

namespace mirrord::hook {
namespace {

// Threads that wait at the same time. A further one waits for a free connection.
constexpr uint32_t kPoolSize = 512;
constexpr int kFirstOwnDescriptor = 900;

Connection pool[kPoolSize];
std::atomic<uint32_t> pool_used{0};  // entries above were never used
// The slot this thread used last.
__thread uint32_t connection_hint;
// While this thread is inside fork: what the child takes over, even when a handler that runs
// inside fork is the first to need a connection.
__thread ForkHandover* fork_in_progress;

// One word that the kernel clears in a forked child, however it was forked.
std::atomic<uint32_t>* same_process_mark;

void make_same_process_mark() {
  long page =
      raw(SYS_mmap, nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (failed(page)) {
    return;
  }
  raw(SYS_madvise, page, 4096, 18 /* MADV_WIPEONFORK */);
  same_process_mark = reinterpret_cast<std::atomic<uint32_t>*>(page);
  same_process_mark->store(1, std::memory_order_relaxed);
}

uint64_t inode_of(int fd) {
  struct stat status = {};
  return failed(raw(SYS_fstat, fd, &status)) ? 0 : status.st_ino;
}

}  // namespace

int open_connection() {
  long fd = raw(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (failed(fd)) {
    return static_cast<int>(fd);
  }
  int high = place_high(static_cast<int>(fd));
  limit_waits(high);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  size_t length = least(strlen(session.socket_path), sizeof address.sun_path - 1);
  __builtin_memcpy(address.sun_path, session.socket_path, length);
  long result;
  do {
    result = raw(SYS_connect, high, &address,
                 static_cast<unsigned>(offsetof(sockaddr_un, sun_path) + length + 1));
  } while (result == -EINTR);
  if (failed(result) || !say_hello(high)) {
    raw(SYS_close, high);
    return -ENOTCONN;
  }
  return high;
}

namespace {

void fill(Connection& connection, int fd) {
  connection.fd = fd;
  connection.inode = inode_of(fd);
  uint32_t used = static_cast<uint32_t>(&connection - pool) + 1;
  uint32_t known = pool_used.load(std::memory_order_relaxed);
  while (known < used && !pool_used.compare_exchange_weak(known, used)) {
  }
}

bool try_take(Connection& connection, ConnectionState from) {
  return connection.state.load(std::memory_order_relaxed) == from &&
         connection.state.compare_exchange_strong(from, ConnectionState::kBusy,
                                                  std::memory_order_acquire);
}

// An idle connection whose descriptor is still the socket it was.
Connection* take_idle() {
  uint32_t used = pool_used.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < used; ++i) {
    uint32_t at = i == 0 ? least(connection_hint, used - 1) : i;
    Connection& connection = pool[at];
    if (!try_take(connection, ConnectionState::kIdle)) {
      if (i == 0 && try_take(pool[0], ConnectionState::kIdle)) {
        at = 0;
      } else {
        continue;
      }
    }
    Connection& taken = pool[at];
    if (inode_of(taken.fd) == taken.inode) {
      if (MIRRORD_UNLIKELY(is_silent())) {
        limit_waits(taken.fd);  // the patience is shorter now
      }
      connection_hint = at;
      return &taken;
    }
    taken.fd = -1;  // somebody else's by now: not ours to close
    taken.state.store(ConnectionState::kEmpty, std::memory_order_release);
  }
  return nullptr;
}

Connection* take_new() {
  for (Connection& connection : pool) {
    if (!try_take(connection, ConnectionState::kEmpty)) {
      continue;
    }
    int fd = open_connection();
    if (fd < 0) {
      connection.state.store(ConnectionState::kEmpty, std::memory_order_release);
      return nullptr;
    }
    fill(connection, fd);
    connection_hint = static_cast<uint32_t>(&connection - pool);
    return &connection;
  }
  return nullptr;
}

// Whether it makes sense to wait for another thread's connection.
bool is_one_busy() {
  uint32_t used = pool_used.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < used; ++i) {
    if (pool[i].state.load(std::memory_order_relaxed) == ConnectionState::kBusy) {
      return true;
    }
  }
  return false;
}

// In a child: the parent's connections are closed, its keys forgotten.
void forget_parent(uint64_t key, int first_connection) {
  uint32_t used = pool_used.load(std::memory_order_relaxed);
  for (uint32_t i = 0; i < used; ++i) {
    Connection& connection = pool[i];
    if (connection.state.load(std::memory_order_relaxed) != ConnectionState::kEmpty &&
        connection.fd >= 0 && inode_of(connection.fd) == connection.inode) {
      raw(SYS_close, connection.fd);
    }
    connection.fd = -1;
    connection.state.store(ConnectionState::kEmpty, std::memory_order_relaxed);
  }
  session.process_key = key;
  session.parent_key = 0;
  connection_hint = 0;
  if (first_connection >= 0) {
    fill(pool[0], first_connection);
    pool[0].state.store(ConnectionState::kIdle, std::memory_order_relaxed);
  }
  if (same_process_mark != nullptr) {
    same_process_mark->store(1, std::memory_order_release);
  }
}

void notice_fork() {
  if (fork_in_progress != nullptr) {
    finish_fork_in_child(*fork_in_progress);
  } else {
    // Forked behind our back: a process of its own, without the parent's handles.
    forget_parent(random_key(), -1);
  }
}

}  // namespace

Connection* acquire_connection() {
  if (same_process_mark != nullptr &&
      MIRRORD_UNLIKELY(same_process_mark->load(std::memory_order_relaxed) == 0)) {
    notice_fork();
  }
  constexpr int kTries = 30'000;  // of one millisecond
  for (int i = 0; i < kTries; ++i) {
    Connection* connection = take_idle();
    if (connection == nullptr) {
      connection = take_new();
    }
    // No further one may be had: all are in use, no descriptor is free, or this process has become
    // another user. Then they are shared one after the other.
    if (connection != nullptr || !is_one_busy()) {
      return connection;
    }
    long pause[2] = {0, 1'000'000};
    raw(SYS_nanosleep, pause, nullptr);
  }
  return nullptr;
}

void release_connection(Connection* connection) {
  connection->state.store(ConnectionState::kIdle, std::memory_order_release);
}

void drop_connection(Connection* connection) {
  if (inode_of(connection->fd) == connection->inode) {
    raw(SYS_close, connection->fd);
  }
  connection->fd = -1;
  connection->state.store(ConnectionState::kEmpty, std::memory_order_release);
}

bool connect_at_start() {
  make_same_process_mark();
  Connection* connection = take_new();
  if (connection == nullptr) {
    return false;
  }
  release_connection(connection);
  return true;
}

int place_high(int fd) {
  uint64_t limits[2] = {};  // soft, hard
  int base = kFirstOwnDescriptor;
  if (!failed(raw(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, limits)) &&
      limits[0] < kFirstOwnDescriptor + 100) {
    base = static_cast<int>(limits[0] - limits[0] / 4);
  }
  long high = raw(SYS_fcntl, fd, F_DUPFD_CLOEXEC, base);
  if (failed(high)) {
    raw(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
    return fd;
  }
  raw(SYS_close, fd);
  return static_cast<int>(high);
}

int next_own_descriptor(int fd) {
  uint32_t used = pool_used.load(std::memory_order_acquire);
  int best = -1;
  for (uint32_t i = 0; i < used; ++i) {
    if (pool[i].state.load(std::memory_order_acquire) == ConnectionState::kEmpty) {
      continue;
    }
    int own = pool[i].fd;
    if (own >= fd && (best < 0 || own < best)) {
      best = own;
    }
  }
  return best;
}

bool is_own_descriptor(int fd) {
  return fd >= 0 && next_own_descriptor(fd) == fd;
}

void yield_own_descriptor(int fd) {
  for (Connection& connection : pool) {
    if (connection.fd != fd ||
        connection.state.load(std::memory_order_acquire) == ConnectionState::kEmpty) {
      continue;
    }
    long moved = raw(SYS_fcntl, fd, F_DUPFD_CLOEXEC, fd + 1);
    connection.fd = failed(moved) ? -1 : static_cast<int>(moved);
  }
}

void prepare_fork(ForkHandover& handover) {
  int ends[2];
  handover = {-1, random_key()};
  if (failed(raw(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))) {
    return;
  }
  local::Fork message = {handover.child_key};
  Request request = {local::MessageType::kFork, &message, sizeof message, nullptr, 0, ends[0]};
  bool sent = notify(request);
  raw(SYS_close, ends[0]);
  if (sent) {
    handover.child_end = place_high(ends[1]);
    limit_waits(handover.child_end);
  } else {
    raw(SYS_close, ends[1]);
  }
  fork_in_progress = &handover;
}

void finish_fork_in_parent(ForkHandover& handover) {
  fork_in_progress = nullptr;
  if (handover.child_end >= 0) {
    raw(SYS_close, handover.child_end);
  }
}

void finish_fork_in_child(ForkHandover& handover) {
  if (fork_in_progress == nullptr) {
    return;  // done by the first request inside fork's handlers
  }
  fork_in_progress = nullptr;
  int first_connection = handover.child_end;
  if (first_connection >= 0) {
    session.process_key = handover.child_key;
    session.parent_key = 0;
    say_hello(first_connection);
  }
  forget_parent(handover.child_key, first_connection);
  recount_references();
}

}  // namespace mirrord::hook
