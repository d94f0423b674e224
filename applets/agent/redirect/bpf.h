// applets/agent/redirect/bpf.h — the few forms of bpf(2) that the socket look-up needs.
#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <span>

#include "net/error.h"
#include "net/fd.h"

namespace mirrord::agent::bpf {

struct MapShape {
  bpf_map_type type;
  std::uint32_t key_size, value_size, max_entries;
};

// Each fails with what bpf(2) said. Not thread-safe, nothing blocks.
[[nodiscard]] Result<Fd> create_map(const char* name, const MapShape& shape);
[[nodiscard]] Status update(int map, const void* key, const void* value);
// What is not there need not be removed.
void remove(int map, const void* key);

// An SK_LOOKUP program (Linux 5.9). The verifier's last words are part of the error.
[[nodiscard]] Result<Fd> load_lookup_program(std::span<const bpf_insn> code);
// In force in that network namespace until the returned link is closed, also by the end of the process.
[[nodiscard]] Result<Fd> attach(int program, int network_namespace);

}  // namespace mirrord::agent::bpf
