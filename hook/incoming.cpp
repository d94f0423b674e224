// hook/incoming.cpp — rules of incoming traffic, and the table that the intproxy fills. No system call
// but the one-time mapping of the table.
#include "hook/incoming.h"

#include <sys/mman.h>
#include <sys/socket.h>

#include "hook/address.h"
#include "hook/net_rules.h"

namespace mirrord::hook {
namespace {

std::atomic<const local::IncomingTable*> table{nullptr};

// nullptr: it cannot be mapped.
const local::IncomingTable* incoming_table() {
  const local::IncomingTable* mapped = table.load(std::memory_order_acquire);
  if (MIRRORD_LIKELY(mapped != nullptr)) {
    return mapped;
  }
  TextBuffer<320> path;
  path.text(session.directory).text("/").text(local::kIncomingFile);
  const long fd = raw(SYS_openat, AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC, 0);
  if (failed(fd)) {
    return nullptr;
  }
  const long address =
      raw(SYS_mmap, nullptr, sizeof(local::IncomingTable), PROT_READ, MAP_SHARED, fd, 0);
  raw(SYS_close, fd);
  if (failed(address)) {
    return nullptr;
  }
  const auto* fresh = reinterpret_cast<const local::IncomingTable*>(address);
  if (!table.compare_exchange_strong(mapped, fresh)) {
    raw(SYS_munmap, address, sizeof(local::IncomingTable));  // another thread was quicker
    return mapped;
  }
  return fresh;
}

// A copy of an entry that nobody was writing meanwhile.
template <class Entry>
bool read_entry(const Entry& entry, Entry* copy) {
  constexpr int kTries = 100;
  for (int i = 0; i < kTries; ++i) {
    const uint32_t before = __atomic_load_n(&entry.generation, __ATOMIC_ACQUIRE);
    if (before == 0) {
      return false;
    }
    __builtin_memcpy(copy, &entry, sizeof entry);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (before % 2 == 0 && __atomic_load_n(&entry.generation, __ATOMIC_RELAXED) == before) {
      return true;
    }
  }
  return false;
}

local::Address widen(const local::IncomingAddress& from) {
  local::Address address = {};
  address.family = from.family;
  address.port = from.port;
  address.length = from.family == AF_INET ? 4 : 16;
  __builtin_memcpy(address.data, from.data, address.length);
  return address;
}

bool is_loopback6(const local::Address& address) {
  return address.family == AF_INET6 && is_loopback(address);
}

bool is_source(const local::Address& address) {
  return address.family == AF_INET &&
         memcmp(address.data, session.settings->incoming_source, 4) == 0;
}

bool contains(const local::Section& section, uint16_t port) {
  const auto* ports = reinterpret_cast<const uint16_t*>(section_data(section));
  for (uint32_t i = 0; i < section.size / sizeof *ports; ++i) {
    if (ports[i] == port) {
      return true;
    }
  }
  return false;
}

// The other port of a pair, or 0.
uint16_t other_port(const local::Section& section, uint16_t port) {
  const auto* pairs = reinterpret_cast<const local::PortPair*>(section_data(section));
  for (uint32_t i = 0; i < section.size / sizeof *pairs; ++i) {
    if (pairs[i].program == port) {
      return pairs[i].other;
    }
  }
  return 0;
}

bool is_debuggers(const local::Address& requested) {
  const NetRules rules = current_net_rules();
  for (uint32_t i = 0; i < rules.ignored_count; ++i) {
    if (requested.port >= rules.ignored[i].first && requested.port <= rules.ignored[i].last) {
      return is_loopback(requested);
    }
  }
  return false;
}

}  // namespace

void map_incoming_table() {
  incoming_table();
}

bool takes_port(const local::Address& requested) {
  const local::Settings& settings = *session.settings;
  if (requested.port == 0 || (requested.family != AF_INET && requested.family != AF_INET6) ||
      (has_flag(local::kIncomingIgnoreLocalhost) && is_loopback(requested)) ||
      contains(settings.incoming_ignored, requested.port) || is_debuggers(requested)) {
    return false;
  }
  if (!has_flag(local::kIncomingPortsOnly)) {
    return true;
  }
  const uint16_t mapped = other_port(settings.port_mapping, requested.port);
  return contains(settings.incoming_ports, mapped != 0 ? mapped : requested.port);
}

uint16_t fixed_port(uint16_t port) {
  return other_port(session.settings->listen_ports, port);
}

bool find_real_addresses(const local::Address& peer, RealAddresses* out) {
  const bool from_source = is_source(peer);
  const local::IncomingTable* known =
      from_source || is_loopback6(peer) ? incoming_table() : nullptr;
  local::IncomingPeer entry;
  if (known == nullptr ||
      !read_entry(from_source ? known->from_source[peer.port] : known->from_loopback6[peer.port],
                  &entry) ||
      entry.remote.family == 0) {
    return false;
  }
  out->remote = widen(entry.remote);
  out->own = widen(entry.local);
  return true;
}

bool overlaps(const local::Address& one, const local::Address& other) {
  return one.port == other.port &&
         (is_unspecified(one) || is_unspecified(other) ||
          (one.family == other.family && memcmp(one.data, other.data, one.length) == 0));
}

bool find_listener(const local::Address& wanted, local::Address* actual) {
  const local::IncomingTable* known = incoming_table();
  for (uint32_t i = 0; known != nullptr && i < local::kIncomingListeners; ++i) {
    local::IncomingListener entry;
    if (read_entry(known->listeners[i], &entry) && entry.requested.family != 0 &&
        overlaps(wanted, widen(entry.requested))) {
      *actual = widen(entry.actual);
      return true;
    }
  }
  return false;
}

bool find_requested(const local::Address& actual, local::Address* requested) {
  const local::IncomingTable* known = table.load(std::memory_order_acquire);
  for (uint32_t i = 0; known != nullptr && i < local::kIncomingListeners; ++i) {
    local::IncomingListener entry;
    if (read_entry(known->listeners[i], &entry) && entry.requested.family != 0 &&
        is_same(actual, widen(entry.actual)) && !is_same(actual, widen(entry.requested))) {
      *requested = widen(entry.requested);
      return true;
    }
  }
  return false;
}

}  // namespace mirrord::hook
