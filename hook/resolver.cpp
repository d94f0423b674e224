// hook/resolver.cpp — the resolver library's queries of any type (res_query and its kin): the intproxy
// asks the name servers of the target's resolv.conf.
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>

#include "hook/dns.h"
#include "hook/guard.h"
#include "hook/ipc.h"
#include "hook/original.h"
#include "hook/session.h"

using namespace mirrord::hook;
namespace local = mirrord::local;

namespace {

constexpr size_t kMaxName = 1024;
constexpr size_t kHeaderSize = 12;

// The name that a packet's first question asks for. False: none that can be told.
bool read_question(const unsigned char* packet, size_t size, char (&name)[kMaxName]) {
  size_t at = kHeaderSize;
  size_t length = 0;
  while (at < size && packet[at] != 0) {
    const size_t label = packet[at];
    if (label > 63 || at + 1 + label > size || length + label + 2 > kMaxName) {
      return false;
    }
    if (length != 0) {
      name[length++] = '.';
    }
    memcpy(name + length, packet + at + 1, label);
    length += label;
    at += 1 + label;
  }
  name[length] = '\0';
  return at < size;
}

struct Query {
  local::QueryKind kind;
  const void* bytes;  // the name or the packet
  size_t size;
  int dns_class;
  int type;
};

// The answer's size, also when it is larger than the room as glibc tells it; or -1 with errno and,
// for names, *host_error.
int ask_target(const Query& query, unsigned char* answer, int room, int* host_error) {
  const local::QueryRequest fixed = {query.kind, static_cast<uint16_t>(query.dns_class),
                                     static_cast<uint16_t>(query.type)};
  iovec sent = {const_cast<void*>(query.bytes), query.size};
  iovec space = {answer, static_cast<size_t>(room > 0 ? room : 0)};
  local::QueryReply reply = {};
  Answer received = {&reply, sizeof reply, &space, 1, 0, -1, false};
  *host_error = 0;
  const int error = call({local::MessageType::kQuery, &fixed, sizeof fixed, &sent, 1, -1}, received,
                         ECONNREFUSED);
  if (error != 0) {
    *host_error = TRY_AGAIN;
    return fail_with(error);
  }
  if (reply.size > received.data_size && received.data_size >= kHeaderSize) {
    answer[2] = static_cast<unsigned char>(answer[2] | 0x02);  // truncated
  }
  if (reply.host_error != 0) {
    *host_error = reply.host_error;
    if (reply.error != 0) {
      errno = reply.error;
    }
    return -1;
  }
  return static_cast<int>(is_glibc() ? reply.size : received.data_size);
}

int ask_name(local::QueryKind kind, const char* name, int dns_class, int type,
             unsigned char* answer, int room, void* state) {
  int host_error = 0;
  SavedErrno saved;
  const int size =
      ask_target({kind, name, strlen(name), dns_class, type}, answer, room, &host_error);
  if (size < 0) {
    saved.set(errno);
    h_errno = host_error;
    if (state != nullptr) {
      static_cast<res_state>(state)->res_h_errno = host_error;
    }
  }
  return size;
}

// "name.domain" in `full`, or the name alone. False: too long.
bool join(const char* name, const char* domain, char (&full)[kMaxName]) {
  const size_t size = strlen(name);
  const size_t domain_size = domain != nullptr ? strlen(domain) : 0;
  if (size + domain_size + 2 > kMaxName) {
    return false;
  }
  memcpy(full, name, size + 1);
  if (domain != nullptr) {
    full[size] = '.';
    memcpy(full + size + 1, domain, domain_size + 1);
  }
  return true;
}

bool is_remote_packet(const unsigned char* packet, int size) {
  char name[kMaxName];
  return is_active() && packet != nullptr && size > static_cast<int>(kHeaderSize) &&
         read_question(packet, static_cast<size_t>(size), name) && is_remote_lookup(name, 0);
}

int send_packet(const unsigned char* packet, int size, unsigned char* answer, int room) {
  int host_error = 0;
  return ask_target({local::QueryKind::kSend, packet, static_cast<size_t>(size), 0, 0}, answer,
                    room, &host_error);
}

}  // namespace

int hk_res_query(const char* name, int dns_class, int type, unsigned char* answer, int room) {
  if (!is_remote_lookup(name, 0)) {
    const Guard guard;
    return ORIGINAL(res_query)(name, dns_class, type, answer, room);
  }
  return ask_name(local::QueryKind::kQuery, name, dns_class, type, answer, room, nullptr);
}

int hk_res_search(const char* name, int dns_class, int type, unsigned char* answer, int room) {
  if (!is_remote_lookup(name, 0)) {
    const Guard guard;
    return ORIGINAL(res_search)(name, dns_class, type, answer, room);
  }
  return ask_name(local::QueryKind::kSearch, name, dns_class, type, answer, room, nullptr);
}

int hk_res_querydomain(const char* name, const char* domain, int dns_class, int type,
                       unsigned char* answer, int room) {
  char full[kMaxName];
  if (name == nullptr || !join(name, domain, full) || !is_remote_lookup(full, 0)) {
    const Guard guard;
    return ORIGINAL(res_querydomain)(name, domain, dns_class, type, answer, room);
  }
  return ask_name(local::QueryKind::kQuery, full, dns_class, type, answer, room, nullptr);
}

int hk_res_send(const unsigned char* packet, int size, unsigned char* answer, int room) {
  if (!is_remote_packet(packet, size)) {
    const Guard guard;
    return ORIGINAL(res_send)(packet, size, answer, room);
  }
  return send_packet(packet, size, answer, room);
}

int hk_res_nquery(void* state, const char* name, int dns_class, int type, unsigned char* answer,
                  int room) {
  if (!is_remote_lookup(name, 0)) {
    const Guard guard;
    return ORIGINAL(res_nquery)(state, name, dns_class, type, answer, room);
  }
  return ask_name(local::QueryKind::kQuery, name, dns_class, type, answer, room, state);
}

int hk_res_nsearch(void* state, const char* name, int dns_class, int type, unsigned char* answer,
                   int room) {
  if (!is_remote_lookup(name, 0)) {
    const Guard guard;
    return ORIGINAL(res_nsearch)(state, name, dns_class, type, answer, room);
  }
  return ask_name(local::QueryKind::kSearch, name, dns_class, type, answer, room, state);
}

int hk_res_nquerydomain(void* state, const char* name, const char* domain, int dns_class, int type,
                        unsigned char* answer, int room) {
  char full[kMaxName];
  if (name == nullptr || !join(name, domain, full) || !is_remote_lookup(full, 0)) {
    const Guard guard;
    return ORIGINAL(res_nquerydomain)(state, name, domain, dns_class, type, answer, room);
  }
  return ask_name(local::QueryKind::kQuery, full, dns_class, type, answer, room, state);
}

int hk_res_nsend(void* state, const unsigned char* packet, int size, unsigned char* answer,
                 int room) {
  if (!is_remote_packet(packet, size)) {
    const Guard guard;
    return ORIGINAL(res_nsend)(state, packet, size, answer, room);
  }
  return send_packet(packet, size, answer, room);
}
