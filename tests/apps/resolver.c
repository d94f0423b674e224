// tests/apps/resolver.c — every query function of the resolver library once; a line for each answer.
//   resolver all           records that the demo's name server has
//   resolver one NAME TYPE one res_query: its answer, or h_errno
#define _GNU_SOURCE
#include <arpa/nameser.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kMx = 15, kTxt = 16, kSrv = 33, kRoom = 4096 };

static unsigned char answer[kRoom];

static unsigned get16(const unsigned char* at) {
  return (unsigned)(at[0] << 8 | at[1]);
}

// The text of a TXT record: its strings one behind the other.
static void print_text(const unsigned char* data, size_t size) {
  size_t length = 0;
  char text[kRoom] = "";
  for (size_t at = 0; at < size; at += data[at] + 1u) {
    memcpy(text + length, data + at + 1, data[at]);
    length += data[at];
  }
  text[length] = '\0';
  printf(" %zu bytes: %.14s ... %s", length, text, length > 14 ? text + length - 5 : "");
}

static void print(const char* function, int size, int room) {
  if (size < 0) {
    printf("%s: h_errno %d\n", function, h_errno);
    return;
  }
  ns_msg message;
  ns_rr record;
  printf("%s:", function);
  if (size > room || ns_initparse(answer, size, &message) != 0) {
    printf(" cut, truncation is marked: %d\n", (answer[2] & 2) != 0);
    return;
  }
  for (int i = 0; ns_parserr(&message, ns_s_an, i, &record) == 0; i++) {
    const unsigned char* data = ns_rr_rdata(record);
    char name[NS_MAXDNAME] = "";
    const int skipped = ns_rr_type(record) == kMx ? 2 : 6;
    if (ns_rr_type(record) == kTxt) {
      print_text(data, ns_rr_rdlen(record));
      continue;
    }
    dn_expand(ns_msg_base(message), ns_msg_end(message), data + skipped, name, sizeof name);
    printf(" %u %s", get16(data + skipped - 2), name);
  }
  printf("\n");
}

static void send_packet(const char* name, int type) {
  unsigned char query[512];
  const int size = res_mkquery(ns_o_query, name, ns_c_in, type, NULL, 0, NULL, query, sizeof query);
  const int got = res_send(query, size, answer, kRoom);
  print("res_send", got, kRoom);
  printf("res_send keeps the id: %d\n", memcmp(query, answer, 2) == 0);
}

static void with_state(void) {
#ifdef __GLIBC__
  struct __res_state state;
  memset(&state, 0, sizeof state);
  res_ninit(&state);
  print("res_nquery", res_nquery(&state, "partner.example", ns_c_in, kMx, answer, kRoom), kRoom);
  print("res_nsearch", res_nsearch(&state, "_http._tcp.shop", ns_c_in, kSrv, answer, kRoom), kRoom);
  print("res_nquerydomain",
        res_nquerydomain(&state, "partner", "example", ns_c_in, kTxt, answer, kRoom), kRoom);
  unsigned char query[512];
  const int size =
      res_nmkquery(&state, ns_o_query, "partner.example", ns_c_in, kTxt, NULL, 0, NULL, query, 512);
  print("res_nsend", res_nsend(&state, query, size, answer, kRoom), kRoom);
  const int failed = res_nquery(&state, "nobody.partner.example", ns_c_in, kMx, answer, kRoom);
  printf("res_nquery: %d, res_h_errno %d\n", failed, state.res_h_errno);
  res_nclose(&state);
#endif
}

int main(int argc, char** argv) {
  if (argc == 4 && strcmp(argv[1], "one") == 0) {
    print("res_query", res_query(argv[2], ns_c_in, atoi(argv[3]), answer, kRoom), kRoom);
    return 0;
  }
  print("res_query", res_query("partner.example", ns_c_in, kMx, answer, kRoom), kRoom);
  print("res_search", res_search("_http._tcp.shop", ns_c_in, kSrv, answer, kRoom), kRoom);
  print("res_querydomain", res_querydomain("partner", "example", ns_c_in, kTxt, answer, kRoom),
        kRoom);
  print("long", res_query("terms.partner.example", ns_c_in, kTxt, answer, kRoom), kRoom);
  send_packet("partner.example", kTxt);
  print("no name", res_query("nobody.partner.example", ns_c_in, kMx, answer, kRoom), kRoom);
  print("no data", res_query("api.partner.example", ns_c_in, kMx, answer, kRoom), kRoom);
  print("no name in any domain", res_search("nobody", ns_c_in, kMx, answer, kRoom), kRoom);
  print("no data in a domain", res_search("shop", ns_c_in, kMx, answer, kRoom), kRoom);
  errno = 0;
  print("a label too long",
        res_query("0123456789012345678901234567890123456789012345678901234567890123456789.example",
                  ns_c_in, kMx, answer, kRoom),
        kRoom);
  with_state();
  return 0;
}
