// hook/socket_record.cpp — associations of datagram sockets, and the end of a socket.
#include "hook/socket_record.h"

#include <sys/mman.h>

#include "hook/address.h"
#include "hook/ipc.h"

namespace mirrord::hook {
namespace {

AssociationPage* new_page(AssociationPage* next) {
  const long address = raw(SYS_mmap, nullptr, sizeof(AssociationPage), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (failed(address)) {
    return nullptr;
  }
  auto* page = reinterpret_cast<AssociationPage*>(address);
  page->next = next;
  return page;
}

template <class Matches>
const Association* find(const SocketRecord& socket, Matches matches) {
  const AssociationPage* page = socket.associations.load(std::memory_order_acquire);
  for (; page != nullptr; page = page->next) {
    const uint32_t used =
        least(page->used.load(std::memory_order_acquire), AssociationPage::kCapacity);
    for (uint32_t i = 0; i < used; ++i) {
      const Association& item = page->items[i];
      if (item.is_ready.load(std::memory_order_acquire) != 0 && matches(item)) {
        return &item;
      }
    }
  }
  return nullptr;
}

}  // namespace

const local::Address* find_relay(const SocketRecord& socket, const local::Address& remote) {
  const Association* found =
      find(socket, [&](const Association& item) { return is_same(item.remote, remote); });
  return found != nullptr ? &found->relay : nullptr;
}

const local::Address* find_remote(const SocketRecord& socket, const local::Address& relay) {
  const Association* found =
      find(socket, [&](const Association& item) { return is_same(item.relay, relay); });
  return found != nullptr ? &found->remote : nullptr;
}

bool add_association(SocketRecord& socket, const local::Address& remote,
                     const local::Address& relay) {
  for (;;) {
    AssociationPage* page = socket.associations.load(std::memory_order_acquire);
    const uint32_t index = page != nullptr ? page->used.fetch_add(1, std::memory_order_acq_rel)
                                           : AssociationPage::kCapacity;
    if (index < AssociationPage::kCapacity) {
      Association& item = page->items[index];
      item.remote = remote;
      item.relay = relay;
      item.is_ready.store(1, std::memory_order_release);
      return true;
    }
    AssociationPage* fresh = new_page(page);
    if (fresh == nullptr) {
      return false;
    }
    if (!socket.associations.compare_exchange_strong(page, fresh)) {
      raw(SYS_munmap, fresh, sizeof(AssociationPage));  // another thread was quicker
    }
  }
}

bool release_from_intproxy(SocketRecord& socket) {
  if (!socket.has_come_along) {
    return false;
  }
  socket.has_come_along = false;
  const local::ConnectionRequest message = {socket.connection};
  notify({local::MessageType::kReleaseSocket, &message, sizeof message, nullptr, 0, -1});
  return true;
}

void leave_listener(SocketRecord& socket) {
  if (socket.gets_incoming) {
    socket.gets_incoming = false;
    const local::ListenerRequest fixed = {socket.inode};
    notify({local::MessageType::kListenerClosed, &fixed, sizeof fixed, nullptr, 0, -1});
  }
}

void socket_record_closed(SocketRecord& socket) {
  release_from_intproxy(socket);
  leave_listener(socket);
  if (socket.listening_port != 0) {
    const local::ListeningRequest fixed = {socket.listening_port, 0};
    notify({local::MessageType::kListening, &fixed, sizeof fixed, nullptr, 0, -1});
  }
  AssociationPage* page = socket.associations.exchange(nullptr);
  while (page != nullptr) {
    AssociationPage* next = page->next;
    raw(SYS_munmap, page, sizeof(AssociationPage));
    page = next;
  }
}

}  // namespace mirrord::hook
