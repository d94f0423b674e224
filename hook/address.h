// hook/address.h — socket addresses between the program's form and the local protocol's.
#pragma once

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

#include "proto/local.h"

namespace mirrord::hook {

// The address in the local protocol's form. An IPv4 address mapped into IPv6 becomes IPv4.
// False for other families, or when `length` is too short for the family.
bool to_local(const sockaddr* address, socklen_t length, local::Address* out);

// Writes `address` as a sockaddr of `family` into `out` and stores its full length in `*length`,
// copying at most the `*length` bytes there were (as getpeername(2) does). An IPv4 address is
// mapped for AF_INET6; an IPv6 address has no AF_INET form and becomes 127.0.0.1 with its port.
void to_program(const local::Address& address, int family, sockaddr* out, socklen_t* length);

// The same into a large enough buffer; returns its length.
socklen_t to_sockaddr(const local::Address& address, int family, sockaddr_storage* out);

bool is_same(const local::Address& a, const local::Address& b);
bool is_loopback(const local::Address& address);
bool is_unspecified(const local::Address& address);

}  // namespace mirrord::hook
