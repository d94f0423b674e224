// hook/address.cpp — conversions and tests of socket addresses; no calls into libc.
#include "hook/address.h"

#include <sys/un.h>

namespace mirrord::hook {
namespace {

constexpr unsigned kMappedPrefix = 12;  // ::ffff:a.b.c.d, RFC 4291 §2.5.5.2

uint16_t swap16(uint16_t value) {
  return static_cast<uint16_t>((value << 8) | (value >> 8));
}

bool is_mapped(const uint8_t* bytes) {
  for (unsigned i = 0; i < 10; ++i) {
    if (bytes[i] != 0) {
      return false;
    }
  }
  return bytes[10] == 0xFF && bytes[11] == 0xFF;
}

void copy(void* to, const void* from, size_t size) {
  __builtin_memcpy(to, from, size);
}

bool inet_to_local(const sockaddr* address, local::Address* out) {
  const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
  out->family = AF_INET;
  out->port = swap16(v4->sin_port);
  out->length = 4;
  copy(out->data, &v4->sin_addr, 4);
  return true;
}

bool inet6_to_local(const sockaddr* address, local::Address* out) {
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
  const auto* bytes = reinterpret_cast<const uint8_t*>(&v6->sin6_addr);
  out->port = swap16(v6->sin6_port);
  if (is_mapped(bytes)) {
    out->family = AF_INET;
    out->length = 4;
    copy(out->data, bytes + kMappedPrefix, 4);
  } else {
    out->family = AF_INET6;
    out->length = 16;
    copy(out->data, bytes, 16);
  }
  return true;
}

bool unix_to_local(const sockaddr* address, socklen_t length, local::Address* out) {
  const auto* path = reinterpret_cast<const char*>(address) + offsetof(sockaddr_un, sun_path);
  size_t size = length - offsetof(sockaddr_un, sun_path);
  if (size > sizeof out->data) {
    return false;
  }
  if (size > 0 && path[0] != 0) {  // a path: callers may count padding; an abstract name may not
    size_t used = 0;
    while (used < size && path[used] != 0) {
      ++used;
    }
    size = used;
  }
  out->family = AF_UNIX;
  out->length = static_cast<uint32_t>(size);
  copy(out->data, path, size);
  return true;
}

}  // namespace

bool to_local(const sockaddr* address, socklen_t length, local::Address* out) {
  if (address == nullptr || length < sizeof(sa_family_t)) {
    return false;
  }
  *out = local::Address{};
  switch (address->sa_family) {
    case AF_INET:
      return length >= sizeof(sockaddr_in) && inet_to_local(address, out);
    case AF_INET6:
      // Without the scope id (RFC 2553 and older callers) the address is still complete.
      return length >= offsetof(sockaddr_in6, sin6_scope_id) && inet6_to_local(address, out);
    case AF_UNIX:
      return length >= offsetof(sockaddr_un, sun_path) && unix_to_local(address, length, out);
    default:
      return false;
  }
}

socklen_t to_sockaddr(const local::Address& address, int family, sockaddr_storage* out) {
  *out = sockaddr_storage{};
  if (address.family == AF_UNIX) {
    auto* un = reinterpret_cast<sockaddr_un*>(out);
    un->sun_family = AF_UNIX;
    const size_t size = address.length < sizeof un->sun_path ? address.length : sizeof un->sun_path;
    copy(un->sun_path, address.data, size);
    const bool is_path = size > 0 && address.data[0] != 0 && size < sizeof un->sun_path;
    return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size + (is_path ? 1 : 0));
  }
  if (family == AF_INET6) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(out);
    auto* bytes = reinterpret_cast<uint8_t*>(&v6->sin6_addr);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = swap16(address.port);
    if (address.family == AF_INET6) {
      copy(bytes, address.data, 16);
    } else {
      bytes[10] = bytes[11] = 0xFF;
      copy(bytes + kMappedPrefix, address.data, 4);
    }
    return sizeof(sockaddr_in6);
  }
  auto* v4 = reinterpret_cast<sockaddr_in*>(out);
  v4->sin_family = AF_INET;
  v4->sin_port = swap16(address.port);
  if (address.family == AF_INET) {
    copy(&v4->sin_addr, address.data, 4);
  } else {
    const uint8_t loopback[4] = {127, 0, 0, 1};
    copy(&v4->sin_addr, loopback, 4);
  }
  return sizeof(sockaddr_in);
}

void to_program(const local::Address& address, int family, sockaddr* out, socklen_t* length) {
  if (out == nullptr || length == nullptr) {
    return;
  }
  sockaddr_storage storage;
  const socklen_t full = to_sockaddr(address, family, &storage);
  copy(out, &storage, *length < full ? *length : full);
  *length = full;
}

bool is_same(const local::Address& a, const local::Address& b) {
  if (a.family != b.family || a.length != b.length || (a.family != AF_UNIX && a.port != b.port)) {
    return false;
  }
  for (uint32_t i = 0; i < a.length; ++i) {
    if (a.data[i] != b.data[i]) {
      return false;
    }
  }
  return true;
}

bool is_loopback(const local::Address& address) {
  if (address.family == AF_INET) {
    return address.data[0] == 127;
  }
  if (address.family != AF_INET6) {
    return false;
  }
  for (unsigned i = 0; i < 15; ++i) {
    if (address.data[i] != 0) {
      return false;
    }
  }
  return address.data[15] == 1;
}

bool is_unspecified(const local::Address& address) {
  if (address.family == AF_UNIX) {
    return false;
  }
  for (uint32_t i = 0; i < address.length; ++i) {
    if (address.data[i] != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace mirrord::hook
