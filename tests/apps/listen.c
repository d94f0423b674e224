// tests/apps/listen.c — every function of a listening socket once; prints one line for each.
//   listen PORT [OTHER]   takes one connection for each "next" line that it prints, and tells each client
//                         "local". OTHER is a port for IPv6 alone
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

union address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
};

static void print_address(const char* function, const union address* address, socklen_t length) {
  char text[INET6_ADDRSTRLEN] = "none";
  const int is_v6 = address->any.sa_family == AF_INET6;
  const void* bytes = is_v6 ? (const void*)&address->v6.sin6_addr : &address->v4.sin_addr;
  inet_ntop(address->any.sa_family, bytes, text, sizeof text);
  printf("%s: %s %d (%d bytes)\n", function, text,
         ntohs(is_v6 ? address->v6.sin6_port : address->v4.sin_port), (int)length);
}

static void print_own(const char* function, int fd) {
  union address own = {0};
  socklen_t length = sizeof own;
  if (getsockname(fd, &own.any, &length) != 0)
    printf("%s: %s\n", function, strerror(errno));
  else
    print_address(function, &own, length);
}

static union address anywhere(int family, int port) {
  union address address = {0};
  if (family == AF_INET6)
    address.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
  else
    address.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
  return address;
}

static int opened(int family, int option) {
  const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, option, &on, sizeof on);
  return fd;
}

static int bound(int fd, int family, int port) {
  const union address address = anywhere(family, port);
  const socklen_t length = family == AF_INET6 ? sizeof address.v6 : sizeof address.v4;
  return bind(fd, &address.any, length);
}

static void next(void) {
  printf("next\n");
  fflush(stdout);
}

// What an accepted connection says of its ends.
static void talk(int fd, const char* function, const union address* peer, socklen_t length) {
  if (fd < 0) {
    printf("%s: %s\n", function, strerror(errno));
    return;
  }
  if (peer != NULL)
    print_address(function, peer, length);
  union address again = {0};
  length = sizeof again;
  if (getpeername(fd, &again.any, &length) == 0)
    print_address("getpeername", &again, length);
  print_own("getsockname", fd);
  if (write(fd, "local\n", 6) != 6)
    printf("write: %s\n", strerror(errno));
  shutdown(fd, SHUT_WR);
  char rest[100];
  while (read(fd, rest, sizeof rest) > 0) {
  }
  close(fd);
}

static void* accept_in_thread(void* argument) {
  union address peer = {0};
  socklen_t length = sizeof peer;
  const int fd = accept(*(int*)argument, &peer.any, &length);
  talk(fd, "accept in a thread", &peer, length);
  return NULL;
}

static void accept_everywhere(int listener) {
  union address peer = {0};
  socklen_t length = sizeof peer;
  next();
  int fd = accept(listener, &peer.any, &length);
  talk(fd, "accept", &peer, length);

  length = sizeof peer;
  next();
  fd = accept4(listener, &peer.any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  printf("accept4 set its flags: %d\n",
         (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  fcntl(fd, F_SETFL, 0);
  talk(fd, "accept4", &peer, length);

  next();
  talk(accept(listener, NULL, NULL), "accept without an address", NULL, 0);

  // Too little room: what fits is written, the whole length is told.
  union address little = {0};
  length = 4;
  next();
  fd = accept(listener, &little.any, &length);
  printf("accept with little room: %d bytes, port %d, address %s\n", (int)length,
         ntohs(little.v4.sin_port) != 0, inet_ntoa(little.v4.sin_addr));
  talk(fd, "accept with little room", NULL, 0);

  const int copy = dup(listener);
  length = sizeof peer;
  next();
  fd = accept(copy, &peer.any, &length);
  talk(fd, "accept on a duplicate", &peer, length);
  close(copy);

  pthread_t thread;
  pthread_create(&thread, NULL, accept_in_thread, &listener);
  next();
  pthread_join(thread, NULL);

  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    length = sizeof peer;
    next();
    fd = accept(listener, &peer.any, &length);
    talk(fd, "accept in a child", &peer, length);
    fflush(stdout);
    _exit(0);
  }
  waitpid(child, NULL, 0);
}

int main(int argc, char** argv) {
  if (argc < 2)
    return 2;
  const int port = atoi(argv[1]);
  const int listener = opened(AF_INET, SO_REUSEADDR);
  printf("bind: %d\n", bound(listener, AF_INET, port));
  print_own("getsockname", listener);
  printf("listen: %d\n", listen(listener, 16));
  print_own("getsockname", listener);

  int other = opened(AF_INET, SO_KEEPALIVE);
  const int again = bound(other, AF_INET, port);
  printf("bind again: %s\n", again == 0 ? "no error" : strerror(errno));
  close(other);

  other = opened(AF_INET, SO_REUSEADDR);
  printf("bind to port 0: %d\n", bound(other, AF_INET, 0));
  printf("listen: %d\n", listen(other, 16));
  union address own = {0};
  socklen_t length = sizeof own;
  getsockname(other, &own.any, &length);
  printf("it got a port: %d\n", ntohs(own.v4.sin_port) != 0);
  close(other);

  accept_everywhere(listener);

  // Nothing comes any more; then it listens again.
  printf("shutdown: %d\n", shutdown(listener, SHUT_RD));
  printf("listen again: %d\n", listen(listener, 16));
  union address peer = {0};
  length = sizeof peer;
  next();
  int fd = accept(listener, &peer.any, &length);
  talk(fd, "accept after listening again", &peer, length);
  close(listener);

  // Several listeners share a port.
  const int one = opened(AF_INET, SO_REUSEPORT), two = opened(AF_INET, SO_REUSEPORT);
  printf("bind with SO_REUSEPORT: %d %d\n", bound(one, AF_INET, port), bound(two, AF_INET, port));
  printf("listen: %d %d\n", listen(one, 16), listen(two, 16));
  close(one);
  length = sizeof peer;
  next();
  fd = accept(two, &peer.any, &length);
  talk(fd, "accept of the one that is left", &peer, length);
  close(two);

  const int both = opened(AF_INET6, SO_REUSEADDR);
  printf("bind for both families: %d\n", bound(both, AF_INET6, port));
  printf("listen: %d\n", listen(both, 16));
  print_own("getsockname", both);
  length = sizeof peer;
  next();
  fd = accept(both, &peer.any, &length);
  talk(fd, "accept for both families", &peer, length);
  close(both);

  if (argc > 2) {
    const int on = 1, only = opened(AF_INET6, SO_REUSEADDR);
    setsockopt(only, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    printf("bind for IPv6 alone: %d\n", bound(only, AF_INET6, atoi(argv[2])));
    printf("listen: %d\n", listen(only, 16));
    length = sizeof peer;
    printf("next on IPv6\n");
    fflush(stdout);
    fd = accept(only, &peer.any, &length);
    talk(fd, "accept for IPv6 alone", &peer, length);
    close(only);
  }
  printf("done\n");
  return 0;
}
