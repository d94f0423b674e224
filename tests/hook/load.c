// tests/hook/load.c — load WORD …: programs that put the hook under load, for run_behaviour.sh.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition)                                                               \
  do {                                                                                 \
    if (!(condition)) {                                                                \
      dprintf(2, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, strerror(errno)); \
      exit(1);                                                                         \
    }                                                                                  \
  } while (0)

static void check_file(const char* path) {
  char data[16];
  int fd = open(path, O_RDONLY);
  CHECK(fd >= 0);
  CHECK(read(fd, data, sizeof data) == 7 && memcmp(data, "remote\n", 7) == 0);
  CHECK(close(fd) == 0);
}

// Local calls, `count` times.
static int count_calls(int count, const char* path) {
  struct stat status;
  char byte;
  for (int i = 0; i < count; ++i) {
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    CHECK(fstat(fd, &status) == 0);
    CHECK(read(fd, &byte, 1) == 1);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    CHECK(fcntl(fd, F_GETFL) >= 0);
    int copy = dup(fd);
    CHECK(close(copy) == 0);
    CHECK(close(fd) == 0);
    CHECK(stat(path, &status) == 0);
    CHECK(access(path, R_OK) == 0);
    CHECK(readlink("/proc/self/exe", &byte, 1) == 1);
  }
  return 0;
}

static void* read_many_times(void* path) {
  for (int i = 0; i < 50; ++i) {
    check_file(path);
  }
  return NULL;
}

static int run_threads(int count, char* path) {
  pthread_t threads[256];
  for (int i = 0; i < count; ++i) {
    CHECK(pthread_create(&threads[i], NULL, read_many_times, path) == 0);
  }
  for (int i = 0; i < count; ++i) {
    pthread_join(threads[i], NULL);
  }
  return 0;
}

// A file whose byte i is 'a' + i % 23, read anywhere by threads and children through one descriptor
// each and one for all: they take the window from each other.
enum { kPatternSize = 1000000 };
static const char* pattern_path;
static int shared_fd;

static void check_pattern(const char* data, long at, long size) {
  for (long i = 0; i < size; ++i) {
    CHECK(data[i] == (char)('a' + (at + i) % 23));
  }
}

static void* read_pattern(void* number) {
  static __thread char data[50000];
  unsigned seed = (unsigned)(size_t)number;
  int fd = seed % 2 == 0 ? open(pattern_path, O_RDONLY) : shared_fd;
  for (int i = 0; i < 60; ++i) {
    long at = rand_r(&seed) % kPatternSize;
    long size = rand_r(&seed) % (long)sizeof data;
    long expected = size < kPatternSize - at ? size : kPatternSize - at;
    CHECK(pread(fd, data, (size_t)size, at) == expected);
    check_pattern(data, at, expected);
  }
  return NULL;
}

static int read_by_many(int count, const char* path) {
  pthread_t threads[64];
  pattern_path = path;
  shared_fd = open(path, O_RDONLY);
  CHECK(shared_fd >= 0);
  for (long i = 0; i < count; ++i) {
    CHECK(pthread_create(&threads[i], NULL, read_pattern, (void*)i) == 0);
  }
  for (long i = 0; i < 3; ++i) {
    if (fork() == 0) {
      read_pattern((void*)(100 + i));
      _exit(0);
    }
  }
  for (int i = 0; i < count; ++i) {
    pthread_join(threads[i], NULL);
  }
  for (int i = 0; i < 3; ++i) {
    int status = 1;
    CHECK(wait(&status) > 0 && status == 0);
  }
  return 0;
}

static int open_many(int count, const char* path) {
  int first = open(path, O_RDONLY);
  CHECK(first >= 0);
  int last = first;
  for (int i = 1; i < count; ++i) {
    last = open(path, O_RDONLY);
    CHECK(last >= 0);
  }
  CHECK(last >= first + count - 1);
  char data[16];
  CHECK(read(last, data, sizeof data) == 7);
  for (int fd = first; fd <= last; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) {
      close(fd);
    }
  }
  check_file(path);
  return 0;
}

// All descriptors are in use: EMFILE, and it goes on when one is free again.
static int exhaust(int most, const char* path) {
  int last = -1;
  for (int i = 0; i < most; ++i) {
    int fd = open("/dev/null", O_RDONLY);
    if (fd < 0) {
      break;
    }
    last = fd;
  }
  CHECK(last > 0);
  CHECK(open(path, O_RDONLY) == -1);
  CHECK(errno == EMFILE || errno == EIO);
  CHECK(close(last) == 0);
  check_file(path);
  return 0;
}

// The intproxy vanishes: errors from then on, the local side goes on.
static int lose(const char* path, const char* local) {
  int fd = open(path, O_RDONLY);
  CHECK(fd >= 0);
  int failed = 0;
  for (int i = 0; i < 20; ++i) {
    struct stat status;
    if (stat(path, &status) != 0) {
      CHECK(errno == EIO);
      ++failed;
    }
  }
  CHECK(failed >= 10);
  CHECK(open(path, O_RDONLY) == -1 && errno == EIO);
  char data[16];
  CHECK(read(fd, data, sizeof data) == 7);  // it lies here whole
  close(fd);
  check_file(local);
  return 0;
}

static int strange_names(const char* base) {
  char path[8192];
  snprintf(path, sizeof path, "%s/\xff\xfe name\n with 'all'", base);
  int fd = open(path, O_CREAT | O_WRONLY, 0600);
  CHECK(fd >= 0 && close(fd) == 0);
  CHECK(access(path, F_OK) == 0 && unlink(path) == 0);
  snprintf(path, sizeof path, "%s/", base);
  size_t length = strlen(path);
  memset(path + length, 'x', 255);
  path[length + 255] = '\0';
  fd = open(path, O_CREAT | O_WRONLY, 0600);
  CHECK(fd >= 0 && close(fd) == 0 && unlink(path) == 0);
  path[length + 255] = 'x';
  path[length + 256] = '\0';
  CHECK(open(path, O_RDONLY) == -1 && errno == ENAMETOOLONG);
  while (length < 4090) {
    length += (size_t)snprintf(path + length, 8, "/./.");
  }
  strcpy(path + length, "/x");
  CHECK(open(path, O_RDONLY) == -1 && (errno == ENOENT || errno == ENAMETOOLONG));
  memset(path + length, 'y', 4000);
  path[length + 4000] = '\0';
  CHECK(open(path, O_RDONLY) == -1 && errno == ENAMETOOLONG);
  struct stat status;
  CHECK(stat(path, &status) == -1 && errno == ENAMETOOLONG);
  return 0;
}

int main(int count, char** words) {
  CHECK(count >= 3);
  const char* word = words[1];
  if (strcmp(word, "count") == 0) {
    return count_calls(atoi(words[2]), words[3]);
  }
  if (strcmp(word, "threads") == 0) {
    return run_threads(atoi(words[2]), words[3]);
  }
  if (strcmp(word, "readers") == 0) {
    return read_by_many(atoi(words[2]), words[3]);
  }
  if (strcmp(word, "many") == 0) {
    return open_many(atoi(words[2]), words[3]);
  }
  if (strcmp(word, "exhaust") == 0) {
    return exhaust(atoi(words[2]), words[3]);
  }
  if (strcmp(word, "lost") == 0) {
    return lose(words[2], words[3]);
  }
  if (strcmp(word, "names") == 0) {
    return strange_names(words[2]);
  }
  return 2;
}
