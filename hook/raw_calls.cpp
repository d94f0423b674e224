// hook/raw_calls.cpp — the table from system call numbers to hooks.
#include "hook/raw_calls.h"

#include <stdarg.h>

#include "hook/original.h"
#include "hook/session.h"

namespace mirrord::hook {
namespace {

using Arguments = const long (&)[6];
using Route = long (*)(Arguments);

template <class T>
T as(long value) {
  if constexpr (requires { static_cast<T>(value); }) {
    return static_cast<T>(value);
  } else {
    return reinterpret_cast<T>(value);
  }
}

template <size_t... kIndices>
struct Indices {};
template <size_t kCount, size_t... kIndices>
struct MakeIndices : MakeIndices<kCount - 1, kCount - 1, kIndices...> {};
template <size_t... kIndices>
struct MakeIndices<0, kIndices...> {
  using Type = Indices<kIndices...>;
};

template <class Result, class... Parameters, size_t... kIndices>
Result call_with(Result (*hook)(Parameters...), Arguments arguments, Indices<kIndices...>) {
  return hook(as<Parameters>(arguments[kIndices])...);
}

// Calls a hook with as many arguments as it takes, and turns -1 into a negative errno.
template <class Result, class... Parameters>
long call_hook(Result (*hook)(Parameters...), Arguments arguments) {
  const SavedErrno saved;
  const Result result =
      call_with(hook, arguments, typename MakeIndices<sizeof...(Parameters)>::Type{});
  return result == static_cast<Result>(-1) ? -errno : static_cast<long>(result);
}

struct Row {
  long number;
  Route route;
};

#define ROUTE(number, hook)                                                             \
  {                                                                                     \
    number, [](Arguments arguments) -> long { return call_hook(hk_##hook, arguments); } \
  }

long route_openat(Arguments a) {
  const SavedErrno saved;
  const int fd = hk_openat(as<int>(a[0]), as<const char*>(a[1]), as<int>(a[2]), as<mode_t>(a[3]));
  return fd < 0 ? -errno : fd;
}
long route_fcntl(Arguments a) {
  const SavedErrno saved;
  const int result = hk_fcntl(as<int>(a[0]), as<int>(a[1]), a[2]);
  return result < 0 ? -errno : result;
}
// The kernel counts the NUL, the library returns the buffer.
long route_getcwd(Arguments a) {
  const SavedErrno saved;
  const char* path = hk_getcwd(as<char*>(a[0]), as<size_t>(a[1]));
  return path == nullptr ? -errno : static_cast<long>(strlen(path)) + 1;
}
long refuse(Arguments) {
  return -ENOSYS;
}
#ifdef SYS_open
long route_open(Arguments a) {
  const SavedErrno saved;
  const int fd = hk_open(as<const char*>(a[0]), as<int>(a[1]), as<mode_t>(a[2]));
  return fd < 0 ? -errno : fd;
}
#endif

// Sorted by subject; a call that is missing here stays the kernel's.
constexpr Row kRoutes[] = {
    {SYS_openat, route_openat},
    ROUTE(SYS_close, close),
    ROUTE(SYS_close_range, close_range),
    ROUTE(SYS_read, read),
    ROUTE(SYS_readv, readv),
    ROUTE(SYS_pread64, pread),
    ROUTE(SYS_preadv, preadv),
    ROUTE(SYS_write, write),
    ROUTE(SYS_writev, writev),
    ROUTE(SYS_pwrite64, pwrite),
    ROUTE(SYS_pwritev, pwritev),
    ROUTE(SYS_lseek, lseek),
    ROUTE(SYS_dup, dup),
    ROUTE(SYS_dup3, dup3),
    {SYS_fcntl, route_fcntl},
    ROUTE(SYS_ftruncate, ftruncate),
    ROUTE(SYS_truncate, truncate),
    ROUTE(SYS_fsync, fsync),
    ROUTE(SYS_fdatasync, fdatasync),
    ROUTE(SYS_sendfile, sendfile),
    ROUTE(SYS_splice, splice),
    ROUTE(SYS_copy_file_range, copy_file_range),
    ROUTE(SYS_fstat, fstat),
    ROUTE(SYS_newfstatat, fstatat),
    ROUTE(SYS_statx, statx),
    ROUTE(SYS_statfs, statfs),
    ROUTE(SYS_fstatfs, fstatfs),
    ROUTE(SYS_readlinkat, readlinkat),
    ROUTE(SYS_getdents64, getdents64),
    ROUTE(SYS_chdir, chdir),
    ROUTE(SYS_fchdir, fchdir),
    {SYS_getcwd, route_getcwd},
    ROUTE(SYS_mkdirat, mkdirat),
    ROUTE(SYS_unlinkat, unlinkat),
    ROUTE(SYS_renameat, renameat),
    ROUTE(SYS_renameat2, renameat2),
    ROUTE(SYS_fchmod, fchmod),
    ROUTE(SYS_fchown, fchown),
    ROUTE(SYS_utimensat, utimensat),
    ROUTE(SYS_connect, connect),
    ROUTE(SYS_bind, bind),
    ROUTE(SYS_listen, listen),
    ROUTE(SYS_accept, accept),
    ROUTE(SYS_accept4, accept4),
    ROUTE(SYS_shutdown, shutdown),
    ROUTE(SYS_socket, socket),
    ROUTE(SYS_getpeername, getpeername),
    ROUTE(SYS_getsockname, getsockname),
    ROUTE(SYS_sendto, sendto),
    ROUTE(SYS_recvfrom, recvfrom),
    ROUTE(SYS_sendmsg, sendmsg),
    ROUTE(SYS_recvmsg, recvmsg),
    ROUTE(SYS_uname, uname),
    ROUTE(SYS_execve, execve),
    // The kernel takes no flags in the older calls: the library's form has one more argument.
    {SYS_faccessat,
     [](Arguments a) -> long {
       const long with_flags[6] = {a[0], a[1], a[2], 0, 0, 0};
       return call_hook(hk_faccessat, with_flags);
     }},
    ROUTE(SYS_faccessat2, faccessat),
    {SYS_fchmodat,
     [](Arguments a) -> long {
       const long with_flags[6] = {a[0], a[1], a[2], 0, 0, 0};
       return call_hook(hk_fchmodat, with_flags);
     }},
    // Rings read and write behind every hook's back: runtimes fall back to calls without them.
    {SYS_io_uring_setup, refuse},
#ifdef SYS_open
    {SYS_open, route_open},
    ROUTE(SYS_stat, stat),
    ROUTE(SYS_lstat, lstat),
    ROUTE(SYS_access, access),
    ROUTE(SYS_readlink, readlink),
    ROUTE(SYS_mkdir, mkdir),
    ROUTE(SYS_rmdir, rmdir),
    ROUTE(SYS_unlink, unlink),
    ROUTE(SYS_rename, rename),
    ROUTE(SYS_chmod, chmod),
    ROUTE(SYS_dup2, dup2),
#endif
};

#undef ROUTE

constexpr long kHighestNumber = 512;

struct Index {
  uint8_t row[kHighestNumber];  // 0: none, else the row's position + 1
};

constexpr Index make_index() {
  Index index = {};
  uint8_t position = 0;
  for (const Row& row : kRoutes) {
    index.row[row.number] = ++position;
  }
  return index;
}

constexpr Index kIndex = make_index();

}  // namespace

bool route_raw_call(long number, const long (&arguments)[6], long* result) {
  if (number < 0 || number >= kHighestNumber || kIndex.row[number] == 0 || !is_active()) {
    return false;
  }
  *result = kRoutes[kIndex.row[number] - 1].route(arguments);
  return true;
}

}  // namespace mirrord::hook

using namespace mirrord::hook;

long hk_syscall(long number, ...) {
  long arguments[6];
  va_list list;
  va_start(list, number);
  for (long& argument : arguments) {
    argument = va_arg(list, long);
  }
  va_end(list);
  long result;
  if (!route_raw_call(number, arguments, &result)) {
    result = syscall6(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                      arguments[5]);
  }
  return to_errno(result);
}
