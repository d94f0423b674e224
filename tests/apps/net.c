// tests/apps/net.c — every name and datagram function of libc once; prints one line for each.
//   net names HOST ADDRESS    looks HOST up, and the name of ADDRESS
//   net traffic ADDRESS PORT  talks to an echo service over TCP and UDP
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <unistd.h>

static void print_host(const char* function, const struct hostent* host) {
  char text[INET6_ADDRSTRLEN] = "none";
  if (host != NULL && host->h_addr_list[0] != NULL)
    inet_ntop(host->h_addrtype, host->h_addr_list[0], text, sizeof text);
  printf("%s: %s\n", function, text);
}

static void names(const char* name, const char* address) {
  struct addrinfo hints = {
      .ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_flags = AI_CANONNAME};
  struct addrinfo* list = NULL;
  if (getaddrinfo(name, "http", &hints, &list) == 0) {
    const struct sockaddr_in* found = (const struct sockaddr_in*)list->ai_addr;
    printf("getaddrinfo: %s port %d\n", inet_ntoa(found->sin_addr), ntohs(found->sin_port));
    freeaddrinfo(list);
  } else {
    printf("getaddrinfo: none\n");
  }
  struct hostent entry, *result = NULL;
  char small[8], room[8192];
  int error = 0;
  print_host("gethostbyname", gethostbyname(name));
  print_host("gethostbyname2", gethostbyname2(name, AF_INET6));
  if (gethostbyname_r(name, &entry, small, sizeof small, &result, &error) == ERANGE) {
    result = NULL;
    gethostbyname_r(name, &entry, room, sizeof room, &result, &error);
  }
  print_host("gethostbyname_r", result);
  result = NULL;
  gethostbyname2_r(name, AF_INET6, &entry, room, sizeof room, &result, &error);
  print_host("gethostbyname2_r", result);

  struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(80)};
  inet_pton(AF_INET, address, &peer.sin_addr);
  const struct hostent* reverse = gethostbyaddr(&peer.sin_addr, 4, AF_INET);
  printf("gethostbyaddr: %s\n", reverse != NULL ? reverse->h_name : "none");
  result = NULL;
  gethostbyaddr_r(&peer.sin_addr, 4, AF_INET, &entry, room, sizeof room, &result, &error);
  printf("gethostbyaddr_r: %s\n", result != NULL ? result->h_name : "none");
  char host[NI_MAXHOST] = "", service[NI_MAXSERV] = "";
  const int code = getnameinfo((struct sockaddr*)&peer, sizeof peer, host, sizeof host, service,
                               sizeof service, NI_NUMERICSERV);
  printf("getnameinfo: %d %s %s\n", code, host, service);
  struct utsname system;
  if (gethostname(host, sizeof host) == 0 && uname(&system) == 0)
    printf("gethostname: %s\nuname: %s\n", host, system.nodename);
}

static void print_peer(const char* function, const struct sockaddr_in* from, ssize_t size) {
  printf("%s: %d from %s:%d\n", function, (int)size, inet_ntoa(from->sin_addr),
         ntohs(from->sin_port));
}

static void datagrams(const struct sockaddr_in* peer) {
  struct timeval limit = {.tv_sec = 5};
  struct sockaddr_in from = {0};
  socklen_t length = sizeof from;
  char room[100];
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  printf("sendto: %d\n", (int)sendto(fd, "to", 2, 0, (const struct sockaddr*)peer, sizeof *peer));
  const ssize_t first = recvfrom(fd, room, sizeof room, 0, (struct sockaddr*)&from, &length);
  print_peer("recvfrom", &from, first);

  struct sockaddr_in target = *peer, source = {0};
  struct iovec part = {.iov_base = "message", .iov_len = 7};
  struct msghdr out = {
      .msg_name = &target, .msg_namelen = sizeof target, .msg_iov = &part, .msg_iovlen = 1};
  struct iovec into = {.iov_base = room, .iov_len = sizeof room};
  struct msghdr in = {
      .msg_name = &source, .msg_namelen = sizeof source, .msg_iov = &into, .msg_iovlen = 1};
  printf("sendmsg: %d\n", (int)sendmsg(fd, &out, 0));
  const ssize_t got = recvmsg(fd, &in, 0);
  print_peer("recvmsg", &source, got);
  printf("sendmsg left its target alone: %d\n", memcmp(&target, peer, sizeof target) == 0);

  struct mmsghdr both[2] = {{.msg_hdr = out}, {.msg_hdr = out}};
  printf("sendmmsg: %d\n", sendmmsg(fd, both, 2, 0));
  for (int i = 0; i < 2; i++) {
    in.msg_namelen = sizeof source;
    struct mmsghdr one = {.msg_hdr = in};
    memset(&source, 0, sizeof source);
    const int count = recvmmsg(fd, &one, 1, 0, NULL);
    print_peer("recvmmsg", &source, count == 1 ? (ssize_t)one.msg_len : -1);
  }
  close(fd);
}

static void traffic(const char* address, const char* port) {
  struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
  inet_pton(AF_INET, address, &peer.sin_addr);
  struct sockaddr_in end = {0};
  socklen_t length = sizeof end;
  char room[100] = "";
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr*)&peer, sizeof peer) != 0) {
    printf("connect: %s\n", strerror(errno));
    return;
  }
  getpeername(fd, (struct sockaddr*)&end, &length);
  printf("getpeername: %s:%d\n", inet_ntoa(end.sin_addr), ntohs(end.sin_port));
  length = sizeof end;
  getsockname(fd, (struct sockaddr*)&end, &length);
  printf("getsockname is on loopback: %d\n", (ntohl(end.sin_addr.s_addr) >> 24) == 127);
  if (write(fd, "stream", 6) == 6)
    printf("stream: %d\n", (int)read(fd, room, sizeof room));
  close(fd);
  datagrams(&peer);
}

int main(int argc, char** argv) {
  if (argc == 4 && strcmp(argv[1], "names") == 0)
    names(argv[2], argv[3]);
  else if (argc == 4 && strcmp(argv[1], "traffic") == 0)
    traffic(argv[2], argv[3]);
  else
    return 2;
  return 0;
}
