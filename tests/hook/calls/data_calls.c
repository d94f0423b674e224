// tests/hook/calls/data_calls.c — reading, writing, seeking, mapping and copying.
#include <aio.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "calls.h"

// The file "big": 300,000 bytes, byte i is 'a' + i % 23.
enum { kBigSize = 300000 };
static char big_byte(long at) {
  return (char)('a' + at % 23);
}

static void check_big(const char* data, long at, long size) {
  for (long i = 0; i < size; ++i) {
    if (data[i] != big_byte(at + i)) {
      CHECK(!"big content");
      return;
    }
  }
}

static void call_read_big(void) {
  static char data[10007];
  int fd = open(in_base("big"), O_RDONLY);
  long at = 0;
  ssize_t got;
  while ((got = read(fd, data, sizeof data)) > 0) {
    CHECK(got == sizeof data || at + got == kBigSize);
    check_big(data, at, got);
    at += got;
  }
  CHECK(got == 0);
  CHECK(at == kBigSize);
  close(fd);
}

static void call_read_random(void) {
  char data[3000];
  int fd = open(in_base("big"), O_RDONLY);
  unsigned seed = 7;
  for (int i = 0; i < 60; ++i) {
    seed = seed * 1103515245 + 12345;
    long at = (seed >> 8) % (kBigSize - 3000);
    CHECK(pread(fd, data, 3000, at) == 3000);
    check_big(data, at, 3000);
    if (i % 3 == 0) {
      CHECK(lseek(fd, at, SEEK_SET) == at);
      CHECK(read(fd, data, 100) == 100);
      check_big(data, at, 100);
      CHECK(lseek(fd, 0, SEEK_CUR) == at + 100);
    }
  }
  CHECK(pread(fd, data, 3000, kBigSize - 10) == 10);
  CHECK(pread(fd, data, 3000, kBigSize + 10) == 0);
  CHECK_FAILS(pread(fd, data, 10, -1), EINVAL);
  close(fd);
}

static void call_readv(void) {
  char first[4];
  char second[100];
  struct iovec parts[2] = {{first, 4}, {second, 100}};
  int fd = open(in_base("text"), O_RDONLY);
  CHECK(readv(fd, parts, 2) == 18);
  CHECK(memcmp(first, "line", 4) == 0 && memcmp(second, " one\nline two\n", 14) == 0);
  CHECK(preadv(fd, parts, 2, 9) == 9);
  CHECK(memcmp(first, "line", 4) == 0 && memcmp(second, " two\n", 5) == 0);
#ifdef __GLIBC__
  CHECK(preadv2(fd, parts, 2, 9, 0) == 9);
  CHECK(lseek(fd, 0, SEEK_SET) == 0);
  CHECK(preadv2(fd, parts, 1, -1, 0) == 4);
  CHECK(lseek(fd, 0, SEEK_CUR) == 4);
#endif
  volatile int wrong = -1;
  CHECK_FAILS(readv(fd, parts, wrong), EINVAL);
  close(fd);
}

static void call_lseek(void) {
  int fd = open(in_base("big"), O_RDONLY);
  CHECK(lseek(fd, 0, SEEK_END) == kBigSize);
  CHECK(lseek(fd, -100, SEEK_END) == kBigSize - 100);
  CHECK(lseek(fd, 50, SEEK_CUR) == kBigSize - 50);
  CHECK_FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
  CHECK(lseek(fd, 10, SEEK_DATA) == 10);
  CHECK(lseek(fd, 10, SEEK_HOLE) == kBigSize);
  CHECK_FAILS(lseek(fd, kBigSize, SEEK_DATA), ENXIO);
  close(fd);
}

static void call_write(void) {
  const char* path = in_base("written");
  make_file(path, "first\n");
  int fd = open(path, O_WRONLY | O_APPEND);
  struct iovec parts[2] = {{(char*)"sec", 3}, {(char*)"ond\n", 4}};
  CHECK(writev(fd, parts, 2) == 7);
  char byte;
  CHECK_FAILS(read(fd, &byte, 1), EBADF);
  CHECK(fsync(fd) == 0 && fdatasync(fd) == 0);
  CHECK(close(fd) == 0);
  check_content(path, "first\nsecond\n");
  fd = open(path, O_RDONLY);
  CHECK_FAILS(write(fd, "x", 1), EBADF);
  close(fd);
  CHECK(unlink(path) == 0);
}

static void call_write_much(void) {
  static char data[kBigSize];
  for (long i = 0; i < kBigSize; ++i) {
    data[i] = big_byte(i);
  }
  const char* path = in_base("much");
  int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
  CHECK(write(fd, data, kBigSize) == kBigSize);
  CHECK(lseek(fd, 0, SEEK_CUR) == kBigSize);
  CHECK(close(fd) == 0);
  fd = open(path, O_RDONLY);
  memset(data, 0, sizeof data);
  CHECK(read(fd, data, kBigSize) == kBigSize);
  check_big(data, 0, kBigSize);
  close(fd);
  CHECK(unlink(path) == 0);
}

static void call_read_write(void) {
  const char* path = in_base("both");
  int fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
  CHECK(write(fd, "0123456789", 10) == 10);
  CHECK(pwrite(fd, "AB", 2, 4) == 2);
  struct iovec part = {(char*)"C", 1};
  CHECK(pwritev(fd, &part, 1, 9) == 1);
  CHECK(lseek(fd, 2, SEEK_SET) == 2);
  char data[16] = "";
  CHECK(read(fd, data, 16) == 8);
  CHECK(strcmp(data, "23AB678C") == 0);
  CHECK(ftruncate(fd, 5) == 0);
  CHECK(lseek(fd, 0, SEEK_END) == 5);
  CHECK(posix_fallocate(fd, 0, 8) == 0);
  CHECK(lseek(fd, 0, SEEK_END) == 8);
  CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL) == 0);
  CHECK(close(fd) == 0);
  CHECK(truncate(path, 3) == 0);
  check_content(path, "012");
  CHECK(unlink(path) == 0);
}

static void call_mmap(void) {
  int fd = open(in_base("big"), O_RDONLY);
  char* map = mmap(NULL, kBigSize, PROT_READ, MAP_PRIVATE, fd, 0);
  CHECK(map != MAP_FAILED);
  check_big(map, 0, kBigSize);
  munmap(map, kBigSize);
  map = mmap(NULL, kBigSize, PROT_READ, MAP_SHARED, fd, 0);
  CHECK(map != MAP_FAILED);
  close(fd);
  check_big(map, 0, kBigSize);
  munmap(map, kBigSize);
  fd = open(in_base("text"), O_RDONLY);
  CHECK(mmap(NULL, 10, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
  CHECK(errno == EACCES);
  map = mmap(NULL, 10, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  CHECK(map != MAP_FAILED);
  map[0] = 'L';
  munmap(map, 10);
  close(fd);
  fd = open(in_base("text"), O_RDWR);
  map = mmap(NULL, 18, PROT_READ, MAP_PRIVATE, fd, 0);
  CHECK(map != MAP_FAILED && memcmp(map, "line one\nline two\n", 18) == 0);
  munmap(map, 18);
  if (is_remote) {
    CHECK(mmap(NULL, 18, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    CHECK(errno == ENODEV);
  }
  close(fd);
  check_content(in_base("text"), "line one\nline two\n");
}

static void call_sendfile(void) {
  char data[100];
  int ends[2];
  CHECK(pipe(ends) == 0);
  int fd = open(in_base("big"), O_RDONLY);
  off_t offset = 1000;
  CHECK(sendfile(ends[1], fd, &offset, 50) == 50);
  CHECK(offset == 1050);
  CHECK(read(ends[0], data, 100) == 50);
  check_big(data, 1000, 50);
  CHECK(sendfile(ends[1], fd, NULL, 30) == 30);
  CHECK(lseek(fd, 0, SEEK_CUR) == 30);
  CHECK(read(ends[0], data, 100) == 30);
  check_big(data, 0, 30);
  loff_t at = 2000;
  CHECK(splice(fd, &at, ends[1], NULL, 40, 0) == 40);
  CHECK(read(ends[0], data, 100) == 40);
  check_big(data, 2000, 40);
  close(fd);
  const char* path = in_base("spliced");
  fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
  CHECK(write(ends[1], "through a pipe", 14) == 14);
  CHECK(splice(ends[0], NULL, fd, NULL, 14, 0) == 14);
  close(fd);
  check_content(path, "through a pipe");
  CHECK(unlink(path) == 0);
  close(ends[0]);
  close(ends[1]);
}

static void call_copy_file_range(void) {
  char local[] = "/tmp/mirrord-calls-XXXXXX";
  int out = mkstemp(local);
  int in = open(in_base("big"), O_RDONLY);
  long done = 0;
  ssize_t got;
  while ((got = copy_file_range(in, NULL, out, NULL, kBigSize, 0)) > 0) {
    done += got;
  }
  if (got == 0 || (errno != EXDEV && errno != EINVAL)) {  // between some file systems: not at all
    CHECK(done == kBigSize);
    char* map = mmap(NULL, kBigSize, PROT_READ, MAP_SHARED, out, 0);
    check_big(map, 0, kBigSize);
    munmap(map, kBigSize);
  }
  close(in);
  const char* path = in_base("copied");
  in = open(in_base("text"), O_RDONLY);
  int remote_out = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
  CHECK(copy_file_range(in, NULL, remote_out, NULL, 100, 0) == 18);
  close(in);
  close(remote_out);
  check_content(path, "line one\nline two\n");
  CHECK(unlink(path) == 0);
  close(out);
  unlink(local);
}

// A file that grows is read on after a second at its end.
static void call_follow(void) {
  const char* path = in_base("growing");
  make_file(path, "one");
  char data[16];
  int fd = open(path, O_RDONLY);
  CHECK(read(fd, data, 16) == 3);
  CHECK(read(fd, data, 16) == 0);
  int out = open(path, O_WRONLY | O_APPEND);
  CHECK(write(out, "two", 3) == 3);
  CHECK(close(out) == 0);
  ssize_t got = 0;
  for (int i = 0; i < 30 && got == 0; ++i) {
    usleep(100000);
    got = read(fd, data, 16);
  }
  CHECK(got == 3 && memcmp(data, "two", 3) == 0);
  close(fd);
  CHECK(unlink(path) == 0);
}

// Two processes share the position of an inherited file.
static void call_fork_position(void) {
  int fd = open(in_base("text"), O_RDONLY);
  int out = open(in_base("shared"), O_CREAT | O_TRUNC | O_WRONLY, 0600);
  CHECK(write(out, "parent ", 7) == 7);
  pid_t child = fork();
  if (child == 0) {
    char data[9];
    bool ok = read(fd, data, 9) == 9 && memcmp(data, "line one\n", 9) == 0;
    ok = ok && write(out, "child ", 6) == 6;
    ok = ok && close(out) == 0;
    _exit(ok ? 0 : 1);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  char data[9];
  CHECK(read(fd, data, 9) == 9 && memcmp(data, "line two\n", 9) == 0);
  CHECK(write(out, "parent", 6) == 6);
  CHECK(close(out) == 0);
  close(fd);
  check_content(in_base("shared"), "parent child parent");
  CHECK(unlink(in_base("shared")) == 0);
}

// Never the bytes of a placeholder: the right ones, or an error that lets programs read themselves.
static void call_aio(void) {
  char data[64 * 1024] = "";
  struct aiocb control = {0};
  const struct aiocb* list[] = {&control};
  control.aio_fildes = open(in_base("big"), O_RDONLY);
  control.aio_buf = data;
  control.aio_nbytes = sizeof data;
  control.aio_offset = 230000;
  CHECK(aio_read(&control) == 0);
  while (aio_error(&control) == EINPROGRESS) {
    aio_suspend(list, 1, NULL);
  }
  CHECK(aio_error(&control) == 0 && aio_return(&control) == (ssize_t)sizeof data);
  CHECK(data[0] == 'a' + 230000 % 23 && data[60000] == 'a' + 290000 % 23);
  struct aiocb* both[] = {&control, NULL};
  control.aio_lio_opcode = LIO_READ;
  control.aio_offset = 23;
  control.aio_nbytes = 5;
  CHECK(lio_listio(LIO_WAIT, both, 2, NULL) == 0);
  CHECK(aio_return(&control) == 5 && memcmp(data, "abcde", 5) == 0);
  close(control.aio_fildes);

  make_file(in_base("asynchronous"), "0123456789");
  control.aio_fildes = open(in_base("asynchronous"), O_RDWR);
  control.aio_offset = 2;
  memcpy(data, "HELLO", 5);
  if (is_remote) {
    CHECK_FAILS(aio_write(&control), ENOSYS);
    CHECK_FAILS(aio_read(&control), ENOSYS);
  } else {
    CHECK(aio_write(&control) == 0);
    while (aio_error(&control) == EINPROGRESS) {
      aio_suspend(list, 1, NULL);
    }
    CHECK(aio_return(&control) == 5);
    CHECK(aio_fsync(O_SYNC, &control) == 0);
    while (aio_error(&control) == EINPROGRESS) {
      aio_suspend(list, 1, NULL);
    }
    check_content(in_base("asynchronous"), "01HELLO789");
  }
  close(control.aio_fildes);
  CHECK(unlink(in_base("asynchronous")) == 0);
}

const struct Call kDataCalls[] = {
    {"aio", call_aio},
    {"read to the end", call_read_big},
    {"read anywhere", call_read_random},
    {"readv", call_readv},
    {"lseek", call_lseek},
    {"write", call_write},
    {"write much", call_write_much},
    {"read and write", call_read_write},
    {"mmap", call_mmap},
    {"sendfile and splice", call_sendfile},
    {"copy_file_range", call_copy_file_range},
    {"follow", call_follow},
    {"position after fork", call_fork_position},
    {NULL, NULL},
};
