// bench/probe.c — the program under measurement: does one kind of work in a loop and prints
// "name value" lines. Run bare for the yardstick and under `mirrord exec` for ours.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

static void die(const char* what) {
  fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
  exit(1);
}

// With "paced": does one operation for every byte on standard input and answers with its
// microseconds, a double, so that somebody else says when.
static int is_paced;
static void answer_paced(void (*operation)(const char*), const char* argument) {
  char byte;
  while (read(STDIN_FILENO, &byte, 1) == 1) {
    const double begin = now_us();
    operation(argument);
    const double us = now_us() - begin;
    if (write(STDOUT_FILENO, &us, sizeof us) != sizeof us)
      die("write");
  }
}

// Prints the median time of `count` runs of `operation(argument)` in microseconds.
static void report_p50(const char* name, int count, void (*operation)(const char*),
                       const char* argument) {
  if (is_paced) {
    answer_paced(operation, argument);
    return;
  }
  double* samples = malloc(sizeof(double) * (size_t)count);
  for (int i = 0; i < count / 10 + 1; i++)
    operation(argument);
  for (int i = 0; i < count; i++) {
    const double begin = now_us();
    operation(argument);
    samples[i] = now_us() - begin;
  }
  qsort(samples, (size_t)count, sizeof(double), compare);
  printf("%s %.3f\n", name, samples[count / 2]);
  free(samples);
}

// Prints the mean over a tight loop in nanoseconds: for calls too short to be timed one by one.
static void report_mean_ns(const char* name, int count, void (*operation)(const char*),
                           const char* argument) {
  double best = 1e18;
  for (int round = 0; round < 7; round++) {
    const double begin = now_us();
    for (int i = 0; i < count; i++)
      operation(argument);
    const double mean = (now_us() - begin) * 1e3 / count;
    if (mean < best)
      best = mean;
  }
  printf("%s %.1f\n", name, best);
}

static void small_file(const char* path) {
  char buffer[8192];
  struct stat s;
  const int fd = open(path, O_RDONLY);
  if (fd < 0 || fstat(fd, &s) != 0)
    die(path);
  while (read(fd, buffer, sizeof buffer) > 0) {
  }
  close(fd);
}
static void stat_path(const char* path) {
  struct stat s;
  if (stat(path, &s) != 0)
    die(path);
}
static void open_missing(const char* path) {
  if (open(path, O_RDONLY) >= 0)
    die("the missing file exists");
}
static void list_directory(const char* path) {
  DIR* d = opendir(path);
  if (!d)
    die(path);
  while (readdir(d)) {
  }
  closedir(d);
}
static void list_long(const char* path) {
  char name[4096];
  struct stat s;
  struct dirent* e;
  DIR* d = opendir(path);
  if (!d)
    die(path);
  while ((e = readdir(d))) {
    snprintf(name, sizeof name, "%s/%s", path, e->d_name);
    if (lstat(name, &s) != 0)
      die(name);
  }
  closedir(d);
}
static size_t chunk;
static void read_sequentially(const char* path) {
  char* buffer = malloc(chunk);
  const int fd = open(path, O_RDONLY);
  ssize_t n;
  double total = 0;
  if (fd < 0)
    die(path);
  const double begin = now_us();
  while ((n = read(fd, buffer, chunk)) > 0)
    total += (double)n;
  if (n < 0)
    die("read");
  printf("read_mib_s %.1f\n", total / 1048576 / ((now_us() - begin) / 1e6));
  close(fd);
  free(buffer);
}
static void write_sequentially(const char* path, double mib) {
  char* buffer = calloc(1, chunk);
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0)
    die(path);
  const double begin = now_us();
  for (double done = 0; done < mib * 1048576; done += (double)chunk)
    if (write(fd, buffer, chunk) != (ssize_t)chunk)
      die("write");
  if (close(fd) != 0)
    die("close");
  printf("write_mib_s %.1f\n", mib / ((now_us() - begin) / 1e6));
  free(buffer);
}

static void resolve(const char* name) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
  const int code = getaddrinfo(name, "80", &hints, &list);
  if (code != 0) {
    fprintf(stderr, "probe: %s: %s\n", name, gai_strerror(code));
    exit(1);
  }
  freeaddrinfo(list);
}

static struct sockaddr_in peer;
static int connect_peer(void) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  if (connect(fd, (struct sockaddr*)&peer, sizeof peer) != 0)
    die("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}
static void echo_on(int fd) {
  char buffer[64] = "x";
  if (write(fd, buffer, sizeof buffer) != sizeof buffer)
    die("write");
  for (size_t got = 0; got < sizeof buffer;) {
    const ssize_t n = read(fd, buffer, sizeof buffer - got);
    if (n <= 0)
      die("echo");
    got += (size_t)n;
  }
}
static void connect_and_echo(const char* unused) {
  (void)unused;
  const int fd = connect_peer();
  echo_on(fd);
  close(fd);
}
static int echo_fd;
static void echo_once(const char* unused) {
  (void)unused;
  echo_on(echo_fd);
}
static void download(void) {
  static char buffer[256 * 1024];
  double total = 0;
  ssize_t n;
  const double begin = now_us();
  const int fd = connect_peer();
  while ((n = read(fd, buffer, sizeof buffer)) > 0)
    total += (double)n;
  printf("download_mib_s %.1f\n", total / 1048576 / ((now_us() - begin) / 1e6));
  printf("download_bytes %.0f\n", total);
}
static void upload(double mib) {
  static char buffer[256 * 1024];
  const double begin = now_us();
  const int fd = connect_peer();
  for (double done = 0; done < mib * 1048576; done += sizeof buffer)
    for (size_t at = 0; at < sizeof buffer;) {
      const ssize_t n = write(fd, buffer + at, sizeof buffer - at);
      if (n <= 0)
        die("upload");
      at += (size_t)n;
    }
  shutdown(fd, SHUT_WR);
  if (read(fd, buffer, 1) != 1)
    die("the sink's answer");
  printf("upload_mib_s %.1f\n", mib / ((now_us() - begin) / 1e6));
}
static void many(int count) {
  int* fds = malloc(sizeof(int) * (size_t)count);
  const double begin = now_us();
  for (int i = 0; i < count; i++)
    fds[i] = connect_peer();
  for (int i = 0; i < count; i++)
    echo_on(fds[i]);
  printf("many_ms %.2f\n", (now_us() - begin) / 1e3);
  for (int i = 0; i < count; i++)
    close(fds[i]);
}

// ---- servers: one client after the other, who says when he has had enough

static void serve_echo(int fd) {
  char room[65536];
  for (ssize_t got; (got = read(fd, room, sizeof room)) > 0;)
    for (ssize_t done = 0, step; done < got; done += step)
      if ((step = write(fd, room + done, (size_t)(got - done))) <= 0)
        return;
}
static void serve_source(int fd) {
  static char room[262144];
  for (size_t left = 256 << 20; left > 0;) {
    const ssize_t step = write(fd, room, left < sizeof room ? left : sizeof room);
    if (step <= 0)
      return;
    left -= (size_t)step;
  }
}
static void serve_sink(int fd) {
  static char room[262144];
  while (read(fd, room, sizeof room) > 0) {
  }
  (void)!write(fd, "x", 1);
}
static int listen_on(const char* port) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr*)&own, sizeof own) != 0 || listen(listener, 16) != 0) {
    perror("probe: listen");
    exit(1);
  }
  puts("ready");
  fflush(stdout);
  return listener;
}
static void serve(const char* port, void (*talk)(int)) {
  const int listener = listen_on(port), on = 1;
  for (int fd; (fd = accept(listener, NULL, NULL)) >= 0; close(fd)) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    talk(fd);
  }
}

// Many clients at the same time; each request is taken to come in one piece.
static void serve_http(int listener) {
  static const char kAnswer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  static struct pollfd open[64];
  char room[16384];
  open[0] = (struct pollfd){.fd = listener, .events = POLLIN};
  for (nfds_t count = 1; poll(open, count, -1) > 0;) {
    for (nfds_t i = count; --i > 0;)
      if (open[i].revents != 0 && (read(open[i].fd, room, sizeof room) <= 0 ||
                                   write(open[i].fd, kAnswer, sizeof kAnswer - 1) <= 0)) {
        close(open[i].fd);
        open[i] = open[--count];
      }
    if (open[0].revents != 0 && count < sizeof open / sizeof *open) {
      const int fd = accept(listener, NULL, NULL), on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      open[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
  }
}

static int cheap_fd;
static void cheap_open_close(const char* path) {
  close(open(path, O_RDONLY));
}
static void cheap_stat(const char* path) {
  struct stat s;
  stat(path, &s);
}
static void cheap_read(const char* unused) {
  char byte;
  (void)unused;
  (void)!pread(cheap_fd, &byte, 1, 0);
  (void)!read(cheap_fd, &byte, 0);
}
static void cheap_close(const char* unused) {
  (void)unused;
  close(-1);
}
static void cheap_connect(const char* unused) {
  // Refused at once: an address family error costs the bare call the least.
  (void)unused;
  connect(cheap_fd, (struct sockaddr*)&peer, sizeof peer);
}

static void set_peer(const char* address, const char* port) {
  peer.sin_family = AF_INET;
  peer.sin_port = htons((unsigned short)atoi(port));
  inet_pton(AF_INET, address, &peer.sin_addr);
}

int main(int argc, char** argv) {
  if (argc > 1 && !strcmp(argv[1], "paced")) {
    is_paced = 1;
    argc--;
    argv++;
  }
  const char* what = argc > 1 ? argv[1] : "";
  const char* path = argc > 2 ? argv[2] : "";
  const int count = argc > 3 ? atoi(argv[3]) : 1;
  if (!strcmp(what, "small"))
    report_p50("p50_us", count, small_file, path);
  else if (!strcmp(what, "stat"))
    report_p50("p50_us", count, stat_path, path);
  else if (!strcmp(what, "missing"))
    report_p50("p50_us", count, open_missing, path);
  else if (!strcmp(what, "list"))
    report_p50("p50_us", count, list_directory, path);
  else if (!strcmp(what, "list-long"))
    report_p50("p50_us", count, list_long, path);
  else if (!strcmp(what, "read")) {
    chunk = (size_t)count;
    read_sequentially(path);
  } else if (!strcmp(what, "write")) {
    chunk = (size_t)count;
    write_sequentially(path, atof(argv[4]));
  } else if (!strcmp(what, "resolve"))
    report_p50("p50_us", count, resolve, path);
  else if (!strcmp(what, "connect-echo")) {
    set_peer(path, argv[4]);
    report_p50("p50_us", count, connect_and_echo, "");
  } else if (!strcmp(what, "echo")) {
    set_peer(path, argv[4]);
    echo_fd = connect_peer();
    report_p50("p50_us", count, echo_once, "");
  } else if (!strcmp(what, "download")) {
    set_peer(path, argv[4]);
    download();
  } else if (!strcmp(what, "upload")) {
    set_peer(path, argv[4]);
    upload(count);
  } else if (!strcmp(what, "many")) {
    set_peer(path, argv[4]);
    many(count);
  } else if (!strcmp(what, "serve-echo")) {
    serve(path, serve_echo);
  } else if (!strcmp(what, "serve-source")) {
    serve(path, serve_source);
  } else if (!strcmp(what, "serve-sink")) {
    serve(path, serve_sink);
  } else if (!strcmp(what, "serve-http")) {
    serve_http(listen_on(path));
  } else if (!strcmp(what, "cheap")) {
    report_mean_ns("open_close_ns", count, cheap_open_close, path);
    report_mean_ns("stat_ns", count, cheap_stat, path);
    cheap_fd = open(path, O_RDONLY);
    report_mean_ns("read_ns", count, cheap_read, "");
    report_mean_ns("close_ns", count, cheap_close, "");
    close(cheap_fd);
    cheap_fd = socket(AF_INET, SOCK_DGRAM, 0);  // connecting a datagram socket sends nothing
    set_peer("127.0.0.1", "9");
    report_mean_ns("connect_ns", count, cheap_connect, "");
  } else {
    fprintf(stderr, "probe: unknown work '%s'\n", what);
    return 2;
  }
  return 0;
}
