// tests/hook/calls/name_calls.c — making, renaming and removing files; permissions and times.
#include <sys/stat.h>
#include <sys/time.h>
#include <utime.h>

#include "calls.h"

static void call_mkdir(void) {
  struct stat status;
  CHECK(mkdir(in_base("made"), 0750) == 0);
  CHECK(stat(in_base("made"), &status) == 0);
  CHECK(S_ISDIR(status.st_mode) && (status.st_mode & 0777) == 0750);
  CHECK_FAILS(mkdir(in_base("made"), 0750), EEXIST);
  int directory = open(in_base("made"), O_RDONLY | O_DIRECTORY);
  CHECK(mkdirat(directory, "below", 0700) == 0);
  CHECK_FAILS(rmdir(in_base("made")), ENOTEMPTY);
  CHECK(unlinkat(directory, "below", AT_REMOVEDIR) == 0);
  close(directory);
  CHECK(rmdir(in_base("made")) == 0);
  CHECK_FAILS(rmdir(in_base("made")), ENOENT);
}

static void call_unlink(void) {
  make_file(in_base("gone"), "x");
  CHECK(unlink(in_base("gone")) == 0);
  CHECK_FAILS(unlink(in_base("gone")), ENOENT);
  make_file(in_base("gone"), "x");
  CHECK(unlinkat(AT_FDCWD, in_base("gone"), 0) == 0);
  make_file(in_base("gone"), "x");
  CHECK(remove(in_base("gone")) == 0);
  CHECK(mkdir(in_base("gone"), 0700) == 0);
  CHECK(remove(in_base("gone")) == 0);
}

static void call_rename(void) {
  make_file(in_base("old"), "content");
  CHECK(rename(in_base("old"), in_base("new")) == 0);
  check_content(in_base("new"), "content");
  CHECK_FAILS(rename(in_base("old"), in_base("other")), ENOENT);
  CHECK(renameat(AT_FDCWD, in_base("new"), AT_FDCWD, in_base("old")) == 0);
  if (is_remote) {
    CHECK_FAILS(rename(in_base("old"), "/tmp/mirrord-calls-renamed"), EXDEV);
  }
  int directory = open(in_base("dir"), O_RDONLY | O_DIRECTORY);
  CHECK(renameat(directory, "a", directory, "z") == 0);
  CHECK(renameat(directory, "z", directory, "a") == 0);
  CHECK(renameat(AT_FDCWD, in_base("old"), directory, "moved") == 0);
  check_content(in_base("dir/moved"), "content");
  CHECK(renameat(directory, "moved", AT_FDCWD, in_base("old")) == 0);
  close(directory);
  CHECK(unlink(in_base("old")) == 0);
}

// The protocol makes no links and no special files.
static void call_links(void) {
  if (is_remote) {
    CHECK_FAILS(link(in_base("text"), in_base("hard")), EOPNOTSUPP);
    CHECK_FAILS(symlink("text", in_base("soft")), EOPNOTSUPP);
    CHECK_FAILS(symlinkat("text", AT_FDCWD, in_base("soft")), EOPNOTSUPP);
    CHECK_FAILS(mkfifo(in_base("fifo"), 0600), EOPNOTSUPP);
    CHECK_FAILS(mknod(in_base("node"), S_IFREG | 0600, 0), EOPNOTSUPP);
    return;
  }
  CHECK(link(in_base("text"), in_base("hard")) == 0);
  CHECK(unlink(in_base("hard")) == 0);
  CHECK(symlink("text", in_base("soft")) == 0);
  CHECK(unlink(in_base("soft")) == 0);
  CHECK(mkfifo(in_base("fifo"), 0600) == 0);
  CHECK(unlink(in_base("fifo")) == 0);
}

static mode_t mode_of(const char* path) {
  struct stat status;
  CHECK(stat(path, &status) == 0);
  return status.st_mode & 07777;
}

static void call_chmod(void) {
  const char* path = in_base("modes");
  make_file(path, "x");
  CHECK(chmod(path, 0600) == 0 && mode_of(path) == 0600);
  CHECK(fchmodat(AT_FDCWD, path, 0640, 0) == 0 && mode_of(path) == 0640);
  int fd = open(path, O_WRONLY);
  CHECK(fchmod(fd, 0400) == 0 && mode_of(path) == 0400);
  CHECK(fchown(fd, (uid_t)-1, (gid_t)-1) == 0);
  close(fd);
  CHECK(chown(path, (uid_t)-1, (gid_t)-1) == 0);
  CHECK(lchown(path, (uid_t)-1, (gid_t)-1) == 0);
  CHECK(fchownat(AT_FDCWD, path, (uid_t)-1, (gid_t)-1, 0) == 0);
  CHECK_FAILS(chmod(in_base("missing"), 0600), ENOENT);
  CHECK(unlink(path) == 0);
}

static time_t time_of(const char* path) {
  struct stat status;
  CHECK(stat(path, &status) == 0);
  return status.st_mtim.tv_sec;
}

static void call_times(void) {
  const char* path = in_base("times");
  make_file(path, "x");
  struct timespec exact[2] = {{1000, 5}, {2000, 6}};
  CHECK(utimensat(AT_FDCWD, path, exact, 0) == 0 && time_of(path) == 2000);
  struct timeval coarse[2] = {{1000, 5}, {3000, 6}};
  CHECK(utimes(path, coarse) == 0 && time_of(path) == 3000);
  CHECK(lutimes(path, coarse) == 0);
  struct utimbuf seconds = {1000, 4000};
  CHECK(utime(path, &seconds) == 0 && time_of(path) == 4000);
  int fd = open(path, O_WRONLY);
  CHECK(futimens(fd, exact) == 0 && time_of(path) == 2000);
  CHECK(futimes(fd, coarse) == 0 && time_of(path) == 3000);
  CHECK(futimens(fd, NULL) == 0 && time_of(path) > 100000);
  close(fd);
  CHECK(unlink(path) == 0);
}

static void call_temporary(void) {
  char name[512];
  struct stat status;
  snprintf(name, sizeof name, "%s/tmp-XXXXXX", base_path);
  int fd = mkstemp(name);
  CHECK(fd >= 0 && strstr(name, "XXXXXX") == NULL);
  CHECK(write(fd, "x", 1) == 1 && close(fd) == 0);
  CHECK(stat(name, &status) == 0 && (status.st_mode & 0777) == 0600);
  CHECK(unlink(name) == 0);
  snprintf(name, sizeof name, "%s/tmp-XXXXXX.txt", base_path);
  fd = mkostemps(name, 4, O_CLOEXEC);
  CHECK(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0 && close(fd) == 0);
  CHECK(unlink(name) == 0);
  snprintf(name, sizeof name, "%s/tmp-XXXXXX", base_path);
  CHECK(mkdtemp(name) == name);
  CHECK(rmdir(name) == 0);
  CHECK_FAILS(mkstemp(name), EINVAL);
}

const struct Call kNameCalls[] = {
    {"temporary files", call_temporary},
    {"mkdir", call_mkdir},
    {"unlink", call_unlink},
    {"rename", call_rename},
    {"links", call_links},
    {"chmod", call_chmod},
    {"times", call_times},
    {NULL, NULL},
};
