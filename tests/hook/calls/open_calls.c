// tests/hook/calls/open_calls.c — open and its kin, and what happens to descriptors.
#include <poll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "calls.h"

static void check_text(int fd) {
  char data[64];
  CHECK(fd >= 0);
  CHECK(read(fd, data, sizeof data) == 18);
  CHECK(memcmp(data, "line one\nline two\n", 18) == 0);
  CHECK(read(fd, data, sizeof data) == 0);
  CHECK(close(fd) == 0);
}

static void call_open(void) {
  check_text(open(in_base("text"), O_RDONLY));
  CHECK_FAILS(open(in_base("missing"), O_RDONLY), ENOENT);
  CHECK_FAILS(open(in_base("text/below"), O_RDONLY), ENOTDIR);
  CHECK_FAILS(open(in_base("dir"), O_WRONLY), EISDIR);
  CHECK_FAILS(open(in_base("text"), O_RDONLY | O_DIRECTORY), ENOTDIR);
  CHECK_FAILS(open("/hidden/file", O_RDONLY), ENOENT);
  const char* volatile nothing = NULL;
  CHECK_FAILS(open(nothing, O_RDONLY), EFAULT);
}

static void call_openat(void) {
  check_text(openat(AT_FDCWD, in_base("text"), O_RDONLY));
  int directory = open(in_base("dir"), O_RDONLY | O_DIRECTORY);
  CHECK(directory >= 0);
  check_text(openat(directory, "../text", O_RDONLY));
  check_text(openat(directory, in_base("text"), O_RDONLY));
  CHECK_FAILS(openat(directory, "missing", O_RDONLY), ENOENT);
  CHECK_FAILS(openat(-5, "relative", O_RDONLY), EBADF);
  CHECK(close(directory) == 0);
}

static void call_creat(void) {
  int fd = creat(in_base("created"), 0666);
  CHECK(fd >= 0);
  CHECK(write(fd, "new", 3) == 3);
  CHECK(close(fd) == 0);
  check_content(in_base("created"), "new");
  mode_t old = umask(027);
  umask(old);
  struct stat status;
  CHECK(stat(in_base("created"), &status) == 0);
  CHECK((status.st_mode & 0777) == (0666 & ~old));
  CHECK_FAILS(open(in_base("created"), O_CREAT | O_EXCL | O_WRONLY, 0600), EEXIST);
  CHECK(unlink(in_base("created")) == 0);
}

#ifdef __GLIBC__
int __open_2(const char* path, int flags);
int __open64_2(const char* path, int flags);
int __openat_2(int directory, const char* path, int flags);
int __open64(const char* path, int flags, ...);

static void call_open_aliases(void) {
  check_text(__open_2(in_base("text"), O_RDONLY));
  check_text(__open64_2(in_base("text"), O_RDONLY));
  check_text(__openat_2(AT_FDCWD, in_base("text"), O_RDONLY));
  check_text(__open64(in_base("text"), O_RDONLY));
  check_text(open64(in_base("text"), O_RDONLY));
}
#else
static void call_open_aliases(void) {}
#endif

static void call_close(void) {
  int fd = open(in_base("text"), O_RDONLY);
  CHECK(close(fd) == 0);
  CHECK_FAILS(close(fd), EBADF);
  char byte;
  CHECK_FAILS(read(fd, &byte, 1), EBADF);
}

// The number of a closed remote file may become a local one.
static void call_reused_number(void) {
  int fd = open(in_base("text"), O_RDONLY);
  close(fd);
  int ends[2];
  CHECK(pipe(ends) == 0);
  CHECK(ends[0] == fd);
  CHECK(write(ends[1], "p", 1) == 1);
  char byte;
  CHECK(read(ends[0], &byte, 1) == 1 && byte == 'p');
  close(ends[0]);
  close(ends[1]);
}

static void call_dup(void) {
  int fd = open(in_base("text"), O_RDONLY);
  int copy = dup(fd);
  int second = dup2(fd, 100);
  int third = dup3(fd, 101, O_CLOEXEC);
  int fourth = fcntl(fd, F_DUPFD_CLOEXEC, 102);
  CHECK(second == 100 && third == 101 && fourth >= 102);
  CHECK((fcntl(101, F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(dup2(fd, fd) == fd);
  CHECK_FAILS(dup2(-1, 100), EBADF);
  char data[5];
  CHECK(read(fd, data, 5) == 5);
  CHECK(read(copy, data, 4) == 4);  // one position
  CHECK(memcmp(data, "one\n", 4) == 0);
  CHECK(close(fd) == 0);
  CHECK(lseek(second, 0, SEEK_CUR) == 9);
  CHECK(read(third, data, 4) == 4);
  CHECK(memcmp(data, "line", 4) == 0);
  close(copy);
  close(second);
  close(third);
  close(fourth);
}

// A local file put over a remote one is local from then on, and the other way round.
static void call_dup2_over(void) {
  int fd = open(in_base("text"), O_RDONLY);
  int null = open("/dev/null", O_RDONLY);
  CHECK(dup2(null, fd) == fd);
  char data[4];
  CHECK(read(fd, data, 4) == 0);
  int other = open(in_base("text"), O_RDONLY);
  CHECK(dup2(other, null) == null);
  CHECK(read(null, data, 4) == 4);
  close(fd);
  close(null);
  close(other);
}

static void call_fcntl(void) {
  int fd = open(in_base("text"), O_RDONLY);
  CHECK((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY);
  CHECK(fcntl(fd, F_GETFD) == 0);
  CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
  CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
  close(fd);
  fd = open(in_base("fresh"), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
  CHECK((fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND)) == (O_WRONLY | O_APPEND));
  CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
  close(fd);
  fd = open(in_base("fresh"), O_RDWR);
  CHECK((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR);
  close(fd);
  CHECK(unlink(in_base("fresh")) == 0);
}

static void call_locks(void) {
  int fd = open(in_base("text"), O_RDONLY);
  struct flock shared = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
  CHECK(fcntl(fd, F_SETLK, &shared) == 0);
  CHECK(flock(fd, LOCK_SH) == 0);
  CHECK(flock(fd, LOCK_UN) == 0);
  CHECK(flock(fd, LOCK_EX) == 0);
  CHECK_FAILS(flock(fd, 0x40), EINVAL);
  close(fd);
  fd = open(in_base("text"), O_RDWR);
  struct flock exclusive = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  CHECK(fcntl(fd, F_SETLK, &exclusive) == 0);
  CHECK(lockf(fd, F_TLOCK, 0) == 0);
  CHECK(fcntl(fd, F_GETLK, &exclusive) == 0 && exclusive.l_type == F_UNLCK);
  close(fd);
}

static void call_ioctl(void) {
  int fd = open(in_base("text"), O_RDONLY);
  int left = 0;
  char data[5];
  CHECK(read(fd, data, 5) == 5);
  CHECK(ioctl(fd, FIONREAD, &left) == 0);
  CHECK(left == 13);
  struct winsize size;
  CHECK_FAILS(ioctl(fd, TIOCGWINSZ, &size), ENOTTY);
  close(fd);
}

static void call_poll(void) {
  int fd = open(in_base("text"), O_RDONLY);
  struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
  CHECK(poll(&poll_fd, 1, 1000) == 1);
  CHECK((poll_fd.revents & POLLIN) != 0);
  close(fd);
}

static void call_descriptor_names(void) {
  char name[64];
  char data[8];
  int fd = open(in_base("text"), O_RDONLY);
  CHECK(read(fd, data, 5) == 5);
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  int again = open(name, O_RDONLY);
  CHECK(again >= 0 && lseek(again, 0, SEEK_SET) == 0 && read(again, data, 4) == 4);
  CHECK(memcmp(data, "line", 4) == 0);
  close(again);
  close(fd);
  fd = open(in_base("named"), O_CREAT | O_WRONLY, 0600);
  snprintf(name, sizeof name, "/dev/fd/%d", fd);
  again = open(name, O_WRONLY | O_APPEND);
  CHECK(write(again, "named", 5) == 5);
  CHECK(close(again) == 0 && close(fd) == 0);
  check_content(in_base("named"), "named");
  CHECK(unlink(in_base("named")) == 0);
}

// Bad memory is EFAULT and harms nothing else.
static void call_bad_memory(void) {
  void* volatile bad = (void*)8;
  make_file(in_base("scratch"), "some text");
  int fd = open(in_base("scratch"), O_RDWR);
  if (!is_emulated || !is_remote) {
    CHECK_FAILS(read(fd, bad, 10), EFAULT);
    CHECK_FAILS(write(fd, bad, 10), EFAULT);
  }
  CHECK(close(fd) == 0);
  CHECK(unlink(in_base("scratch")) == 0);
  check_content(in_base("text"), "line one\nline two\n");
}

// Programs that become daemons close everything; what comes next must still work.
static void call_close_everything(void) {
  int kept = open(in_base("text"), O_RDONLY);
  CHECK(dup2(kept, 200) == 200);
  for (int fd = 300; fd < 1024; ++fd) {
    close(fd);
  }
  check_content(in_base("text"), "line one\nline two\n");
#ifdef __GLIBC__
  CHECK(close_range(201, ~0U, 0) == 0);
  check_content(in_base("text"), "line one\nline two\n");
  closefrom(201);
  check_content(in_base("text"), "line one\nline two\n");
#endif
  for (int fd = 895; fd < 910; ++fd) {
    CHECK(dup2(kept, fd) == fd);
  }
  check_content(in_base("text"), "line one\nline two\n");
  for (int fd = 895; fd < 910; ++fd) {
    CHECK(close(fd) == 0);
  }
  check_text(200);
  close(kept);
}

const struct Call kOpenCalls[] = {
    {"open", call_open},
    {"openat", call_openat},
    {"creat", call_creat},
    {"open aliases", call_open_aliases},
    {"close", call_close},
    {"reused number", call_reused_number},
    {"dup", call_dup},
    {"dup2 over another", call_dup2_over},
    {"fcntl", call_fcntl},
    {"locks", call_locks},
    {"ioctl", call_ioctl},
    {"poll", call_poll},
    {"descriptor names", call_descriptor_names},
    {"bad memory", call_bad_memory},
    {"close everything", call_close_everything},
    {NULL, NULL},
};
