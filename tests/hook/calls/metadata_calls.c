// tests/hook/calls/metadata_calls.c — the stat, statfs and access families, links, attributes.
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include "calls.h"

enum { kRemoteDevice = 4242 };  // what the scripted peer tells

static void check_status(const struct stat* status) {
  CHECK(status->st_size == 18);
  CHECK(S_ISREG(status->st_mode));
  CHECK(status->st_mtim.tv_sec == 1700000000);
  CHECK(status->st_mtim.tv_nsec == 123456789);
  CHECK((status->st_dev == kRemoteDevice) == is_remote);
}

static void call_stat(void) {
  struct stat status;
  CHECK(stat(in_base("text"), &status) == 0);
  check_status(&status);
  CHECK(stat(in_base("link"), &status) == 0);
  check_status(&status);
  CHECK(lstat(in_base("link"), &status) == 0);
  CHECK(S_ISLNK(status.st_mode));
  CHECK_FAILS(stat(in_base("missing"), &status), ENOENT);
  CHECK_FAILS(stat("/hidden/file", &status), ENOENT);
}

static void call_fstat(void) {
  struct stat status;
  int fd = open(in_base("text"), O_RDONLY);
  CHECK(fstat(fd, &status) == 0);
  check_status(&status);
  CHECK(fstatat(fd, "", &status, AT_EMPTY_PATH) == 0);
  check_status(&status);
  close(fd);
  CHECK_FAILS(fstat(fd, &status), EBADF);
  int directory = open(in_base("dir"), O_RDONLY | O_DIRECTORY);
  CHECK(fstat(directory, &status) == 0 && S_ISDIR(status.st_mode));
  CHECK(fstatat(directory, "../text", &status, 0) == 0);
  check_status(&status);
  CHECK(fstatat(directory, in_base("link"), &status, AT_SYMLINK_NOFOLLOW) == 0);
  CHECK(S_ISLNK(status.st_mode));
  CHECK_FAILS(fstatat(directory, "", &status, 0), ENOENT);
  CHECK(fstatat(AT_FDCWD, in_base("text"), &status, 0) == 0);
  check_status(&status);
  close(directory);
}

static void call_stat_of_written(void) {
  struct stat status;
  int fd = open(in_base("sized"), O_CREAT | O_WRONLY, 0600);
  CHECK(write(fd, "12345", 5) == 5);
  CHECK(fstat(fd, &status) == 0);
  CHECK(status.st_size == 5);
  CHECK(S_ISREG(status.st_mode));
  close(fd);
  CHECK(unlink(in_base("sized")) == 0);
}

static void call_o_path(void) {
  struct stat status;
  int fd = open(in_base("text"), O_PATH);
  CHECK(fd >= 0);
  CHECK(fstat(fd, &status) == 0);
  check_status(&status);
  char byte;
  CHECK_FAILS(read(fd, &byte, 1), EBADF);
  close(fd);
}

#ifdef __GLIBC__
int __xstat(int version, const char* path, struct stat* status);
int __lxstat(int version, const char* path, struct stat* status);
int __fxstat(int version, int fd, struct stat* status);
int __fxstatat(int version, int directory, const char* path, struct stat* status, int flags);

static void call_old_stat(void) {
  struct stat status;
  CHECK(__xstat(1, in_base("text"), &status) == 0);
  check_status(&status);
  CHECK(__lxstat(1, in_base("link"), &status) == 0 && S_ISLNK(status.st_mode));
  int fd = open(in_base("text"), O_RDONLY);
  CHECK(__fxstat(1, fd, &status) == 0);
  check_status(&status);
  close(fd);
  CHECK(__fxstatat(1, AT_FDCWD, in_base("text"), &status, 0) == 0);
  check_status(&status);
}

static void call_statx(void) {
  struct statx status;
  CHECK(statx(AT_FDCWD, in_base("text"), 0, STATX_BASIC_STATS, &status) == 0);
  CHECK(status.stx_size == 18 && S_ISREG(status.stx_mode));
  CHECK((status.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
  CHECK(status.stx_mtime.tv_sec == 1700000000 && status.stx_mtime.tv_nsec == 123456789);
  int fd = open(in_base("text"), O_RDONLY);
  CHECK(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &status) == 0);
  CHECK(status.stx_size == 18);
  close(fd);
  CHECK_FAILS(statx(AT_FDCWD, in_base("missing"), 0, STATX_SIZE, &status), ENOENT);
  CHECK_FAILS(statx(AT_FDCWD, in_base("text"), 0, 0x80000000U, &status), EINVAL);
}
#else
static void call_old_stat(void) {}
static void call_statx(void) {}
#endif

static void call_access(void) {
  CHECK(access(in_base("text"), F_OK) == 0);
  CHECK(access(in_base("text"), R_OK | W_OK) == 0);
  CHECK_FAILS(access(in_base("missing"), F_OK), ENOENT);
  CHECK_FAILS(access(in_base("text"), 99), EINVAL);
  CHECK(faccessat(AT_FDCWD, in_base("text"), R_OK, 0) == 0);
  CHECK(faccessat(AT_FDCWD, in_base("text"), R_OK, AT_EACCESS) == 0);
  CHECK(euidaccess(in_base("text"), R_OK) == 0);
  int directory = open(in_base("dir"), O_RDONLY | O_DIRECTORY);
  CHECK(faccessat(directory, "a", R_OK, 0) == 0);
  CHECK_FAILS(faccessat(directory, "missing", R_OK, 0), ENOENT);
  close(directory);
}

static void call_readlink(void) {
  char target[64];
  CHECK(readlink(in_base("link"), target, sizeof target) == 4);
  CHECK(memcmp(target, "text", 4) == 0);
  CHECK(readlink(in_base("link"), target, 2) == 2);
  CHECK_FAILS(readlink(in_base("text"), target, sizeof target), EINVAL);
  CHECK_FAILS(readlink(in_base("missing"), target, sizeof target), ENOENT);
  int directory = open(in_base("dir"), O_RDONLY | O_DIRECTORY);
  CHECK(readlinkat(directory, "../link", target, sizeof target) == 4);
  close(directory);
}

static void call_realpath(void) {
  char expected[4096];
  char room[4096];
  CHECK(realpath(in_base("text"), expected) != NULL);
  CHECK(realpath(in_base("dir/../link"), room) == room);
  CHECK(strcmp(room, expected) == 0);
  char* made = realpath(in_base(".//link"), NULL);
  CHECK(made != NULL && strcmp(made, expected) == 0);
  free(made);
  CHECK(realpath(in_base("loop"), room) == NULL && errno == ELOOP);
  CHECK(realpath(in_base("missing"), room) == NULL && errno == ENOENT);
  CHECK(realpath(in_base("text/.."), room) == NULL || is_remote);
#ifdef __GLIBC__
  made = canonicalize_file_name(in_base("link"));
  CHECK(made != NULL && strcmp(made, expected) == 0);
  free(made);
#endif
}

static void call_statfs(void) {
  struct statfs system;
  struct statvfs posix;
  CHECK(statfs(in_base("text"), &system) == 0);
  CHECK((system.f_type == 0x4d495252) == is_remote);
  CHECK(statvfs(in_base("text"), &posix) == 0);
  CHECK(posix.f_bsize == (unsigned long)system.f_bsize && posix.f_blocks == system.f_blocks);
  int fd = open(in_base("text"), O_RDONLY);
  CHECK(fstatfs(fd, &system) == 0);
  CHECK((system.f_type == 0x4d495252) == is_remote);
  CHECK(fstatvfs(fd, &posix) == 0);
  close(fd);
  CHECK_FAILS(statfs(in_base("missing"), &system), ENOENT);
}

static void call_xattr(void) {
  char value[16];
  int fd = open(in_base("text"), O_RDONLY);
  if (is_remote) {
    CHECK_FAILS(getxattr(in_base("text"), "user.x", value, 16), ENOTSUP);
    CHECK_FAILS(lgetxattr(in_base("text"), "user.x", value, 16), ENOTSUP);
    CHECK_FAILS(fgetxattr(fd, "user.x", value, 16), ENOTSUP);
    CHECK_FAILS(listxattr(in_base("text"), value, 16), ENOTSUP);
    CHECK_FAILS(setxattr(in_base("text"), "user.x", "1", 1, 0), ENOTSUP);
    CHECK_FAILS(removexattr(in_base("text"), "user.x"), ENOTSUP);
  } else {
    CHECK(getxattr(in_base("text"), "user.x", value, 16) == -1);
    CHECK(errno == ENODATA || errno == ENOTSUP);
    CHECK(fgetxattr(fd, "user.x", value, 16) == -1);
  }
  close(fd);
}

static void call_chdir(void) {
  char before[4096];
  char now[4096];
  CHECK(getcwd(before, sizeof before) != NULL);
  CHECK_FAILS(chdir(in_base("text")), ENOTDIR);
  CHECK_FAILS(chdir(in_base("missing")), ENOENT);
  CHECK(chdir(in_base("dir")) == 0);
  CHECK(access("a", F_OK) == 0);
  CHECK(getcwd(now, sizeof now) != NULL);
  CHECK(strlen(now) > 4 && strcmp(now + strlen(now) - 4, "/dir") == 0);
  check_content("../text", "line one\nline two\n");
  CHECK(chdir("..") == 0);
  check_content("text", "line one\nline two\n");
  make_file("here", "made here");
  check_content(in_base("here"), "made here");
  if (!is_emulated) {
    CHECK(system("grep -q 'line two' text") == 0);
    CHECK(system("cd dir && test -f b && test -f ../text") == 0);
  }
  CHECK(unlink("here") == 0);
  CHECK(chdir(before) == 0);
  CHECK(getcwd(now, sizeof now) != NULL && strcmp(now, before) == 0);
  CHECK_FAILS(access("text", F_OK), ENOENT);
  int fd = open(in_base("dir"), O_RDONLY | O_DIRECTORY);
  CHECK(fchdir(fd) == 0);
  CHECK(access("b", F_OK) == 0);
  close(fd);
  CHECK(chdir(before) == 0);
}

static void call_inotify(void) {
  int fd = inotify_init1(IN_CLOEXEC);
  if (is_remote) {
    CHECK_FAILS(inotify_add_watch(fd, in_base("dir"), IN_CREATE), ENOSPC);
  } else {
    CHECK(inotify_add_watch(fd, in_base("dir"), IN_CREATE) >= 0);
  }
  close(fd);
}

static void call_rare(void) {
  struct stat status;
  CHECK(stat(in_base("text"), &status) == 0);
  const key_t key = ftok(in_base("text"), 7);
  CHECK((key & 0xFFFF) == (key_t)(status.st_ino & 0xFFFF) && (key >> 24 & 0xFF) == 7);
  CHECK_FAILS(ftok(in_base("missing"), 7), ENOENT);
  CHECK(pathconf(in_base("text"), _PC_NAME_MAX) == 255);
  if (is_remote) {
    CHECK_FAILS(pathconf(in_base("missing"), _PC_NAME_MAX), ENOENT);
  }
#ifdef __GLIBC__
  struct file_handle handle = {0};
  int mount = 0;
  errno = 0;
  CHECK(name_to_handle_at(AT_FDCWD, in_base("text"), &handle, &mount, 0) == -1);
  CHECK(errno == EOPNOTSUPP || (!is_remote && errno == EOVERFLOW));
#endif
}

// Pointers that cannot be a program's: the errno of the kernel, whatever the working directory.
static void call_bad_pointers(void) {
  char* const bad[] = {NULL, (char*)1, (char*)4095, (char*)0x8000000000000000, (char*)-8};
  struct stat status;
  struct statfs room;
  char text[8];
  int directory = open(in_base("dir"), O_RDONLY | O_DIRECTORY);
  for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
    CHECK_FAILS(open(bad[i], O_RDONLY), EFAULT);
    CHECK_FAILS(open(bad[i], O_RDWR | O_CREAT, 0600), EFAULT);
    CHECK_FAILS(openat(directory, bad[i], O_RDONLY), EFAULT);
    CHECK_FAILS(creat(bad[i], 0600), EFAULT);
    CHECK_FAILS(stat(bad[i], &status), EFAULT);
    CHECK_FAILS(lstat(bad[i], &status), EFAULT);
    CHECK_FAILS(fstatat(directory, bad[i], &status, 0), EFAULT);
    CHECK_FAILS(statfs(bad[i], &room), EFAULT);
    CHECK_FAILS(access(bad[i], R_OK), EFAULT);
    CHECK_FAILS(mkdir(bad[i], 0700), EFAULT);
    CHECK_FAILS(unlink(bad[i]), EFAULT);
    CHECK_FAILS(unlinkat(directory, bad[i], 0), EFAULT);
    CHECK_FAILS(rmdir(bad[i]), EFAULT);
    CHECK_FAILS(rename(bad[i], bad[i]), EFAULT);
    CHECK_FAILS(truncate(bad[i], 0), EFAULT);
    CHECK_FAILS(chmod(bad[i], 0600), EFAULT);
    CHECK_FAILS(chown(bad[i], 0, 0), EFAULT);
    CHECK_FAILS(readlink(bad[i], text, sizeof text), EFAULT);
    CHECK_FAILS(chdir(bad[i]), EFAULT);
    CHECK_FAILS(symlink(bad[i], bad[i]), EFAULT);
    CHECK_FAILS(link(bad[i], bad[i]), EFAULT);
    CHECK(fopen(bad[i], "r") == NULL && errno == EFAULT);
    if (is_remote) {  // where the answer goes; C libraries write there before they ask
      CHECK_FAILS(stat(in_base("text"), (struct stat*)bad[i]), EFAULT);
      CHECK_FAILS(statfs(in_base("text"), (struct statfs*)bad[i]), EFAULT);
      CHECK(is_emulated || (readlink(in_base("link"), bad[i], 8) == -1 && errno == EFAULT));
    }
  }
  close(directory);
}

const struct Call kMetadataCalls[] = {
    {"bad pointers", call_bad_pointers},
    {"rare", call_rare},
    {"stat", call_stat},
    {"fstat", call_fstat},
    {"stat of a written file", call_stat_of_written},
    {"O_PATH", call_o_path},
    {"old stat", call_old_stat},
    {"statx", call_statx},
    {"access", call_access},
    {"readlink", call_readlink},
    {"realpath", call_realpath},
    {"statfs", call_statfs},
    {"xattr", call_xattr},
    {"chdir", call_chdir},
    {"inotify", call_inotify},
    {NULL, NULL},
};
