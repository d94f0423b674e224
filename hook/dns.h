// hook/dns.h — look-ups through the intproxy, shared by getaddrinfo and the older functions.
#pragma once

#include "hook/libc.h"

namespace mirrord::hook {

// Most addresses that one look-up hands to the program.
inline constexpr uint32_t kMaxAddresses = 64;

// The answer of a look-up; frees itself with the process's own allocator.
class Lookup {
 public:
  Lookup() = default;
  ~Lookup();
  Lookup(const Lookup&) = delete;
  Lookup& operator=(const Lookup&) = delete;

  // `family` is AF_INET, AF_INET6 or AF_UNSPEC. Returns 0 or an EAI_* code; 0 means that there is
  // at least one address.
  int resolve(const char* node, int family, int socket_type, int protocol, int flags,
              uint16_t port);

  [[nodiscard]] uint32_t count() const { return count_; }
  [[nodiscard]] const local::Address& address(uint32_t index) const;
  // The owner name of a record, without a trailing dot's meaning changed; never null.
  [[nodiscard]] const char* name(uint32_t index) const;

 private:
  char* block_ = nullptr;
  uint32_t count_ = 0;
  uint32_t names_size_ = 0;
};

// Whether a look-up of `node` goes to the target (active session, DNS on, filter, not a numeric
// address, not localhost).
bool is_remote_lookup(const char* node, uint16_t port);

// The name of an address as the target sees it. Returns 0 or an EAI_* code.
int reverse_resolve(const local::Address& address, char* name, size_t size);

}  // namespace mirrord::hook
