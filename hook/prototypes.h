// hook/prototypes.h — declares hk_NAME for every row of hooks.def; the linker exports it as NAME.
#pragma once

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include "hook/libc.h"

// Types that rows of the table name.
struct FTW;
struct addrinfo;
struct aiocb;
struct dirent;
struct file_handle;
struct hostent;
struct ifaddrs;
struct mmsghdr;
struct pollfd;
struct statfs;
struct statvfs;
struct statx;
struct termios;
struct timespec;
struct timeval;
struct utimbuf;
struct utsname;
struct winsize;

#pragma GCC visibility push(default)
extern "C" {
#define HOOK(result, name, parameters, aliases) result hk_##name parameters;
#include "hook/hooks.def"
#undef HOOK
}
#pragma GCC visibility pop
