// applets/agent/redirect/lookup_program.h — the program that the kernel asks whose connection a SYN is.
#pragma once

#include <linux/bpf.h>

#include <array>
#include <cstdint>
#include <vector>

#include "net/address.h"

namespace mirrord::agent {

// The maps, as the program and user space see them.
struct LookupMaps {
  int ports = -1;      // hash: port, host order (u32) -> u32, any
  int exempt = -1;     // hash: LookupSource -> u32, any
  int listeners = -1;  // sockmap: 0 for IPv4, 1 for IPv6
};

// Who connects: the agent's own connections to the target are known by this.
struct LookupSource {
  std::uint32_t family = 0;
  std::array<std::uint8_t, 16> ip{};  // network order, IPv4 in the first four bytes
  std::uint32_t port = 0;             // network order, in the first two bytes of its memory

  static LookupSource of(const net::Endpoint& endpoint);
};
static_assert(sizeof(LookupSource) == 24);

// TCP to a port of `ports`, from anybody who is not `exempt`, goes to the listener of its family;
// all else goes on as if the program were not there.
[[nodiscard]] std::vector<bpf_insn> lookup_program(const LookupMaps& maps);

}  // namespace mirrord::agent
