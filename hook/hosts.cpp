// hook/hosts.cpp — the older look-ups: gethostbyname and its kin, gethostbyaddr, getnameinfo.
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include "hook/address.h"
#include "hook/dns.h"
#include "hook/guard.h"
#include "hook/original.h"
#include "hook/session.h"

namespace mirrord::hook {
namespace {

constexpr size_t kStaticSize = 8192;

// What the functions without a buffer argument return, as in libc: one for the process.
struct StaticHost {
  hostent entry;
  char buffer[kStaticSize];
};
StaticHost static_host;

int host_error(int code) {
  switch (code) {
    case EAI_NONAME:
      return HOST_NOT_FOUND;
    case EAI_AGAIN:
      return TRY_AGAIN;
    default:
      return NO_RECOVERY;
  }
}

// Hands out aligned pieces of a caller's buffer.
class Arena {
 public:
  Arena(char* buffer, size_t size) : at_(buffer), end_(buffer + size) {}
  // nullptr when there is no room left.
  void* take(size_t size, size_t alignment) {
    const size_t misaligned = reinterpret_cast<uintptr_t>(at_) % alignment;
    const size_t padding = misaligned == 0 ? 0 : alignment - misaligned;
    if (padding + size > static_cast<size_t>(end_ - at_)) {
      return nullptr;
    }
    char* result = at_ + padding;
    at_ = result + size;
    return result;
  }
  char* text(const char* value) {
    const size_t size = strlen(value) + 1;
    char* copy = static_cast<char*>(take(size, 1));
    if (copy != nullptr) {
      memcpy(copy, value, size);
    }
    return copy;
  }

 private:
  char* at_;
  char* end_;
};

// False: the buffer is too small.
bool fill_host(const char* name, int family,
               const local::Address* (*address_at)(const void*, uint32_t), const void* source,
               uint32_t count, hostent* entry, Arena arena) {
  const size_t length = family == AF_INET ? 4 : 16;
  auto** aliases = static_cast<char**>(arena.take(sizeof(char*), alignof(char*)));
  auto** list = static_cast<char**>(arena.take(sizeof(char*) * (count + 1), alignof(char*)));
  char* own_name = arena.text(name);
  if (aliases == nullptr || list == nullptr || own_name == nullptr) {
    return false;
  }
  uint32_t used = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const local::Address* address = address_at(source, i);
    if (address->family != family) {
      continue;
    }
    char* bytes = static_cast<char*>(arena.take(length, 4));
    if (bytes == nullptr) {
      return false;
    }
    memcpy(bytes, address->data, length);
    list[used++] = bytes;
  }
  list[used] = nullptr;
  aliases[0] = nullptr;
  *entry = hostent{};
  entry->h_name = own_name;
  entry->h_aliases = aliases;
  entry->h_addrtype = family;
  entry->h_length = static_cast<int>(length);
  entry->h_addr_list = list;
  return true;
}

// The reentrant functions' contract: 0 with *result set, 0 with *result null and *error set, or an
// errno.
int lookup_host(const char* name, int family, hostent* entry, char* buffer, size_t size,
                hostent** result, int* error) {
  *result = nullptr;
  Lookup lookup;
  const int code = lookup.resolve(name, family, 0, 0, 0, 0);
  if (code != 0) {
    *error = host_error(code);
    return 0;
  }
  const auto address_at = [](const void* source, uint32_t index) {
    return &static_cast<const Lookup*>(source)->address(index);
  };
  if (!fill_host(name, family, address_at, &lookup, lookup.count(), entry, Arena(buffer, size))) {
    *error = NETDB_INTERNAL;
    return ERANGE;
  }
  if (entry->h_addr_list[0] == nullptr) {
    *error = NO_DATA;
    return 0;
  }
  *result = entry;
  return 0;
}

int lookup_address(const local::Address& address, hostent* entry, char* buffer, size_t size,
                   hostent** result, int* error) {
  *result = nullptr;
  char name[NI_MAXHOST];
  const int code = reverse_resolve(address, name, sizeof name);
  if (code != 0) {
    *error = host_error(code);
    return 0;
  }
  const auto same = [](const void* source, uint32_t) {
    return static_cast<const local::Address*>(source);
  };
  if (!fill_host(name, address.family, same, &address, 1, entry, Arena(buffer, size))) {
    *error = NETDB_INTERNAL;
    return ERANGE;
  }
  *result = entry;
  return 0;
}

bool is_family(int family) {
  return family == AF_INET || family == AF_INET6;
}

// An address whose name the target knows better than this machine.
bool to_remote_address(const void* bytes, socklen_t size, int family, local::Address* out) {
  if (!is_active() || !has_flag(local::kDnsEnabled) || !is_family(family) || bytes == nullptr ||
      size < (family == AF_INET ? 4U : 16U)) {
    return false;
  }
  *out = local::Address{};
  out->family = static_cast<uint16_t>(family);
  out->length = family == AF_INET ? 4 : 16;
  memcpy(out->data, bytes, out->length);
  return !is_loopback(*out) && !is_unspecified(*out);
}

}  // namespace
}  // namespace mirrord::hook

using namespace mirrord::hook;
namespace local = mirrord::local;

hostent* hk_gethostbyname2(const char* name, int family) {
  if (!is_family(family) || !is_remote_lookup(name, 0)) {
    const Guard guard;
    return ORIGINAL(gethostbyname2)(name, family);
  }
  hostent* result = nullptr;
  int error = NETDB_INTERNAL;
  if (lookup_host(name, family, &static_host.entry, static_host.buffer, kStaticSize, &result,
                  &error) != 0 ||
      result == nullptr) {
    h_errno = error;
  }
  return result;
}

hostent* hk_gethostbyname(const char* name) {
  if (!is_remote_lookup(name, 0)) {
    const Guard guard;
    return ORIGINAL(gethostbyname)(name);
  }
  return hk_gethostbyname2(name, AF_INET);
}

int hk_gethostbyname2_r(const char* name, int family, hostent* entry, char* buffer, size_t size,
                        hostent** result, int* error) {
  if (!is_family(family) || !is_remote_lookup(name, 0)) {
    const Guard guard;
    return ORIGINAL(gethostbyname2_r)(name, family, entry, buffer, size, result, error);
  }
  return lookup_host(name, family, entry, buffer, size, result, error);
}

int hk_gethostbyname_r(const char* name, hostent* entry, char* buffer, size_t size,
                       hostent** result, int* error) {
  if (!is_remote_lookup(name, 0)) {
    const Guard guard;
    return ORIGINAL(gethostbyname_r)(name, entry, buffer, size, result, error);
  }
  return lookup_host(name, AF_INET, entry, buffer, size, result, error);
}

hostent* hk_gethostbyaddr(const void* bytes, socklen_t size, int family) {
  local::Address address;
  if (!to_remote_address(bytes, size, family, &address)) {
    const Guard guard;
    return ORIGINAL(gethostbyaddr)(bytes, size, family);
  }
  hostent* result = nullptr;
  int error = NETDB_INTERNAL;
  if (lookup_address(address, &static_host.entry, static_host.buffer, kStaticSize, &result,
                     &error) != 0 ||
      result == nullptr) {
    h_errno = error;
  }
  return result;
}

int hk_gethostbyaddr_r(const void* bytes, socklen_t size, int family, hostent* entry, char* buffer,
                       size_t buffer_size, hostent** result, int* error) {
  local::Address address;
  if (!to_remote_address(bytes, size, family, &address)) {
    const Guard guard;
    return ORIGINAL(gethostbyaddr_r)(bytes, size, family, entry, buffer, buffer_size, result,
                                     error);
  }
  return lookup_address(address, entry, buffer, buffer_size, result, error);
}

int hk_getnameinfo(const sockaddr* socket_address, socklen_t length, char* host,
                   socklen_t host_size, char* service, socklen_t service_size, int flags) {
  local::Address address;
  local::Address remote;
  const bool wants_name = host != nullptr && host_size > 0 && (flags & NI_NUMERICHOST) == 0;
  char name[NI_MAXHOST];
  if (!wants_name || !to_local(socket_address, length, &address) || address.family == AF_UNIX ||
      !to_remote_address(address.data, address.length, address.family, &remote) ||
      reverse_resolve(remote, name, sizeof name) != 0) {
    const bool is_remote = wants_name && is_active() && has_flag(local::kDnsEnabled) &&
                           to_local(socket_address, length, &address) &&
                           address.family != AF_UNIX && !is_loopback(address);
    const Guard guard;
    if (is_remote && (flags & NI_NAMEREQD) != 0) {
      return EAI_NONAME;
    }
    // Without a name the numeric form is the answer: this machine's resolver must not guess one.
    const int numeric = is_remote ? NI_NUMERICHOST : 0;
    return ORIGINAL(getnameinfo)(socket_address, length, host, host_size, service, service_size,
                                 flags | numeric);
  }
  if (strlen(name) >= host_size) {
    return EAI_OVERFLOW;
  }
  const Guard guard;
  memcpy(host, name, strlen(name) + 1);
  return service == nullptr || service_size == 0
             ? 0
             : ORIGINAL(getnameinfo)(socket_address, length, nullptr, 0, service, service_size,
                                     flags);
}
