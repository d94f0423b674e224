// hook/dns.cpp — getaddrinfo and freeaddrinfo.
//
// The target answers with addresses; everything else that getaddrinfo does (services, socket types,
// flags, memory) is left to libc: each address is given to the original in numeric form, and the
// lists it returns are strung together. The last node of each such list carries a mark, so that
// freeaddrinfo can hand libc back exactly what it allocated.
#include "hook/dns.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include "hook/address.h"
#include "hook/decision_log.h"
#include "hook/guard.h"
#include "hook/ipc.h"
#include "hook/net_rules.h"
#include "hook/original.h"
#include "hook/session.h"

namespace mirrord::hook {
namespace {

// Bits of ai_flags that no libc uses (glibc ends at 0x8000, musl at 0x400).
constexpr int kSegmentEnd = 1 << 28;
constexpr int kOwnName = 1 << 29;

constexpr size_t kAnswerSize = 32 * 1024;

bool equals_ignoring_case(const char* a, const char* b, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    const char lower = static_cast<char>(a[i] >= 'A' && a[i] <= 'Z' ? a[i] + 32 : a[i]);
    if (lower != b[i]) {
      return false;
    }
  }
  return true;
}

// "localhost" and names below it are this machine by definition (RFC 6761 §6.3).
bool is_localhost(const char* node) {
  constexpr char kName[] = "localhost";
  constexpr size_t kSize = sizeof kName - 1;
  size_t size = strlen(node);
  if (size > 0 && node[size - 1] == '.') {
    --size;
  }
  return size >= kSize && equals_ignoring_case(node + size - kSize, kName, kSize) &&
         (size == kSize || node[size - kSize - 1] == '.');
}

bool is_numeric(const char* node) {
  uint8_t bytes[16];
  for (const char* p = node; *p != '\0'; ++p) {
    if (*p == '%') {
      return true;  // a scope id: only numeric IPv6 addresses have one
    }
  }
  return inet_pton(AF_INET, node, bytes) == 1 || inet_pton(AF_INET6, node, bytes) == 1;
}

uint16_t numeric_port(const char* service) {
  uint32_t port = 0;
  if (service == nullptr || *service == '\0') {
    return 0;
  }
  for (const char* p = service; *p != '\0'; ++p) {
    if (*p < '0' || *p > '9' || port > 65535) {
      return 0;
    }
    port = port * 10 + static_cast<uint32_t>(*p - '0');
  }
  return static_cast<uint16_t>(port <= 65535 ? port : 0);
}

// Appends the original's list for one address; false with an EAI_* code in `*code`.
bool append_segment(const local::Address& address, const char* service, const addrinfo& hints,
                    addrinfo*** tail, int* code) {
  char text[64];
  addrinfo numeric = {};
  numeric.ai_family = address.family;
  numeric.ai_socktype = hints.ai_socktype;
  numeric.ai_protocol = hints.ai_protocol;
  numeric.ai_flags = AI_NUMERICHOST | (hints.ai_flags & (AI_NUMERICSERV | AI_PASSIVE));
  if (hints.ai_family == AF_INET6 && address.family == AF_INET) {  // AI_V4MAPPED
    memcpy(text, "::ffff:", 7);
    numeric.ai_family = AF_INET6;
    inet_ntop(AF_INET, address.data, text + 7, sizeof text - 7);
  } else {
    inet_ntop(address.family, address.data, text, sizeof text);
  }
  addrinfo* list = nullptr;
  *code = ORIGINAL(getaddrinfo)(text, service, &numeric, &list);
  if (*code != 0) {
    return false;
  }
  **tail = list;
  addrinfo* last = list;
  for (addrinfo* node = list; node != nullptr; node = node->ai_next) {
    node->ai_flags = hints.ai_flags;
    last = node;
  }
  last->ai_flags |= kSegmentEnd;
  *tail = &last->ai_next;
  return true;
}

void set_canonical_name(addrinfo* first, const char* name) {
  size_t size = strlen(name);
  if (size > 1 && name[size - 1] == '.') {
    --size;
  }
  char* copy = static_cast<char*>(malloc(size + 1));
  if (copy != nullptr) {
    memcpy(copy, name, size);
    copy[size] = '\0';
    first->ai_canonname = copy;
    first->ai_flags |= kOwnName;
  }
}

int wanted_family(const addrinfo& hints) {
  if (hints.ai_family == AF_UNSPEC && !has_flag(local::kIpv6)) {
    return AF_INET;
  }
  return hints.ai_family;
}

int resolve_remotely(const char* node, const char* service, const addrinfo& hints,
                     addrinfo** result) {
  Lookup lookup;
  const uint16_t port = numeric_port(service);
  int code = lookup.resolve(node, wanted_family(hints), hints.ai_socktype, hints.ai_protocol,
                            hints.ai_flags, port);
  const bool may_map = hints.ai_family == AF_INET6 && (hints.ai_flags & AI_V4MAPPED) != 0;
  Lookup mapped;
  if (code == EAI_NONAME && may_map) {
    code =
        mapped.resolve(node, AF_INET, hints.ai_socktype, hints.ai_protocol, hints.ai_flags, port);
  }
  const Lookup& answer = mapped.count() > 0 ? mapped : lookup;
  if (code != 0) {
    return code;
  }
  const Guard guard;
  addrinfo* list = nullptr;
  addrinfo** tail = &list;
  for (uint32_t i = 0; i < answer.count(); ++i) {
    if (!append_segment(answer.address(i), service, hints, &tail, &code)) {
      break;
    }
  }
  if (list == nullptr) {
    return code;
  }
  if ((hints.ai_flags & AI_CANONNAME) != 0) {
    set_canonical_name(list, answer.name(0));
  }
  *result = list;
  return 0;
}

}  // namespace

Lookup::~Lookup() {
  if (block_ != nullptr) {
    const Guard guard;
    free(block_);
  }
}

const local::Address& Lookup::address(uint32_t index) const {
  return reinterpret_cast<const local::ResolvedAddress*>(block_)[index].address;
}

const char* Lookup::name(uint32_t index) const {
  const auto* addresses = reinterpret_cast<const local::ResolvedAddress*>(block_);
  const uint32_t offset = addresses[index].name_offset;
  const char* names = block_ + count_ * sizeof(local::ResolvedAddress);
  return offset < names_size_ ? names + offset : "";
}

int Lookup::resolve(const char* node, int family, int socket_type, int protocol, int flags,
                    uint16_t port) {
  {
    const Guard guard;
    block_ = static_cast<char*>(malloc(kAnswerSize));
  }
  if (block_ == nullptr) {
    return EAI_MEMORY;
  }
  const local::ResolveRequest fixed = {family, socket_type, protocol, flags, port, {}};
  iovec name = {const_cast<char*>(node), strlen(node)};
  local::ResolveReply reply = {};
  iovec space = {block_, kAnswerSize - 1};
  const Request request = {local::MessageType::kResolve, &fixed, sizeof fixed, &name, 1, -1};
  Answer answer = {&reply, sizeof reply, &space, 1, 0, -1, false};
  const int code = call(request, answer);
  if (code == kLost) {
    return EAI_FAIL;
  }
  if (code != 0) {
    return code;
  }
  // The answer is only trusted as far as the bytes that came.
  const size_t room = answer.data_size / sizeof(local::ResolvedAddress);
  if (reply.count == 0 || reply.count > room) {
    return reply.count == 0 ? EAI_NONAME : EAI_FAIL;
  }
  count_ = least(reply.count, kMaxAddresses);
  // Names follow all addresses that were sent: close the gap when some are left out.
  const size_t sent = reply.count * sizeof(local::ResolvedAddress);
  const size_t kept = count_ * sizeof(local::ResolvedAddress);
  names_size_ = static_cast<uint32_t>(answer.data_size - sent);
  memmove(block_ + kept, block_ + sent, names_size_);
  block_[kept + names_size_] = '\0';
  return 0;
}

bool is_remote_lookup(const char* node, uint16_t port) {
  if (!is_active() || node == nullptr || !has_flag(local::kDnsEnabled) || is_numeric(node) ||
      is_localhost(node)) {
    return false;
  }
  const bool is_remote = decide_lookup(current_net_rules(), node, port) != NetDecision::kLocal;
  if (MIRRORD_UNLIKELY(logs_decisions())) {
    log_name(node, is_remote);
  }
  return is_remote;
}

int reverse_resolve(const local::Address& address, char* name, size_t size) {
  iovec space = {name, size - 1};
  const Request request = {
      local::MessageType::kReverseResolve, &address, sizeof address, nullptr, 0, -1};
  Answer answer = {nullptr, 0, &space, 1, 0, -1, false};
  const int code = call(request, answer);
  if (code != 0) {
    return code == kLost ? EAI_FAIL : code;
  }
  name[least(answer.data_size, size - 1)] = '\0';
  return answer.data_size == 0 ? EAI_NONAME : 0;
}

}  // namespace mirrord::hook

using namespace mirrord::hook;

int hk_getaddrinfo(const char* node, const char* service, const addrinfo* hints,
                   addrinfo** result) {
  const bool is_numeric_only = hints != nullptr && (hints->ai_flags & AI_NUMERICHOST) != 0;
  if (is_numeric_only || !is_remote_lookup(node, numeric_port(service))) {
    const Guard guard;
    return ORIGINAL(getaddrinfo)(node, service, hints, result);
  }
  // What libc assumes when no hints are given (getaddrinfo(3)).
  addrinfo defaults = {};
  defaults.ai_flags = AI_V4MAPPED | AI_ADDRCONFIG;
  const addrinfo& wanted = hints != nullptr ? *hints : defaults;
  if (wanted.ai_family != AF_UNSPEC && wanted.ai_family != AF_INET &&
      wanted.ai_family != AF_INET6) {
    return EAI_FAMILY;
  }
  const SavedErrno saved;
  return resolve_remotely(node, service, wanted, result);
}

void hk_freeaddrinfo(addrinfo* list) {
  while (list != nullptr) {
    addrinfo* last = list;
    while (last->ai_next != nullptr && (last->ai_flags & kSegmentEnd) == 0) {
      last = last->ai_next;
    }
    addrinfo* next = (last->ai_flags & kSegmentEnd) != 0 ? last->ai_next : nullptr;
    if ((last->ai_flags & kSegmentEnd) != 0) {
      last->ai_next = nullptr;
    }
    if ((list->ai_flags & kOwnName) != 0) {
      free(list->ai_canonname);
      list->ai_canonname = nullptr;
    }
    ORIGINAL(freeaddrinfo)(list);
    list = next;
  }
}
