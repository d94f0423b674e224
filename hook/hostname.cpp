// hook/hostname.cpp — the target's host name, and network interfaces without IPv6 where asked.
#include <ifaddrs.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include "hook/ipc.h"
#include "hook/original.h"
#include "hook/session.h"

namespace mirrord::hook {
namespace {

constexpr size_t kMaxName = 64;  // HOST_NAME_MAX of Linux

enum class NameState : uint32_t { kUnknown, kWriting, kKnown };
std::atomic<NameState> name_state;
char remote_name[kMaxName + 1];

// Asked once per process: a host name does not change while a session lasts.
bool copy_remote_name(char* out) {
  if (name_state.load(std::memory_order_acquire) == NameState::kKnown) {
    memcpy(out, remote_name, sizeof remote_name);
    return true;
  }
  iovec space = {out, kMaxName};
  const Request request = {local::MessageType::kHostName, nullptr, 0, nullptr, 0, -1};
  Answer answer = {nullptr, 0, &space, 1, 0, -1, false};
  if (call(request, answer) != 0 || answer.data_size == 0) {
    return false;
  }
  out[least(answer.data_size, kMaxName)] = '\0';
  NameState expected = NameState::kUnknown;
  if (name_state.compare_exchange_strong(expected, NameState::kWriting)) {
    memcpy(remote_name, out, sizeof remote_name);
    name_state.store(NameState::kKnown, std::memory_order_release);
  }
  return true;
}

bool wants_remote_name() {
  return is_active() && has_flag(local::kRemoteHostname);
}

}  // namespace
}  // namespace mirrord::hook

using namespace mirrord::hook;
namespace local = mirrord::local;

int hk_gethostname(char* name, size_t size) {
  char remote[kMaxName + 1];
  if (!wants_remote_name() || !copy_remote_name(remote)) {
    return ORIGINAL(gethostname)(name, size);
  }
  const size_t needed = strlen(remote) + 1;
  memcpy(name, remote, least(size, needed));
  return size < needed ? fail_with(ENAMETOOLONG) : 0;
}

int hk___gethostname_chk(char* name, size_t size, size_t) {
  return hk_gethostname(name, size);
}

int hk_uname(utsname* out) {
  const int result = ORIGINAL(uname)(out);
  char remote[kMaxName + 1];
  if (result == 0 && wants_remote_name() && copy_remote_name(remote)) {
    memcpy(out->nodename, remote, least(sizeof out->nodename, sizeof remote));
  }
  return result;
}

int hk_getifaddrs(ifaddrs** list) {
  const int result = ORIGINAL(getifaddrs)(list);
  if (result != 0 || !is_active() || !has_flag(local::kHideIpv6Interfaces)) {
    return result;
  }
  // The head is libc's handle for freeing: it stays, emptied if it must not be seen.
  ifaddrs** link = list;
  while (*link != nullptr) {
    ifaddrs* node = *link;
    const bool is_ipv6 = node->ifa_addr != nullptr && node->ifa_addr->sa_family == AF_INET6;
    if (!is_ipv6) {
      link = &node->ifa_next;
    } else if (node == *list) {
      node->ifa_addr = nullptr;
      link = &node->ifa_next;
    } else {
      *link = node->ifa_next;
    }
  }
  return result;
}
