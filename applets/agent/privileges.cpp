// applets/agent/privileges.cpp — capability sets by the kernel's own interface.
#include "applets/agent/privileges.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>

namespace mirrord::agent {
namespace {

// What file requests use, and why.
constexpr int kKept[] = {
    CAP_CHOWN,            // Fchown
    CAP_DAC_OVERRIDE,     // the target's files, whoever owns them
    CAP_DAC_READ_SEARCH,  //
    CAP_FOWNER,           // Fchmod, Futimens
    CAP_FSETID,           // Fchmod with set-id bits
    CAP_SYS_PTRACE,       // files in the target's /proc
};

constexpr std::uint64_t kNetAdmin = std::uint64_t{1} << CAP_NET_ADMIN;  // to redirect a port

constexpr std::uint64_t kept_mask() {
  std::uint64_t mask = 0;
  for (const int capability : kKept)
    mask |= std::uint64_t{1} << capability;
  return mask;
}

struct Sets {
  std::array<__user_cap_data_struct, 2> halves{};

  // False when the kernel does not say.
  bool read() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    return ::syscall(SYS_capget, &header, halves.data()) == 0;
  }
  void write() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    ::syscall(SYS_capset, &header, halves.data());
  }
};

void set_net_admin(bool is_effective) {
  Sets sets;
  if (!sets.read())
    return;
  auto& half = sets.halves[CAP_NET_ADMIN / 32];
  constexpr auto kBit = static_cast<std::uint32_t>(kNetAdmin >> (CAP_NET_ADMIN / 32 * 32));
  half.effective = is_effective ? half.effective | (half.permitted & kBit) : half.effective & ~kBit;
  sets.write();
}

}  // namespace

void drop_privileges() {
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  constexpr std::uint64_t kMask = kept_mask();
  for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    if (((kMask | kNetAdmin) >> capability & 1) == 0)
      ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  Sets sets;
  if (!sets.read())
    return;
  for (std::size_t i = 0; i < sets.halves.size(); ++i) {
    sets.halves[i].permitted &= static_cast<std::uint32_t>((kMask | kNetAdmin) >> (32 * i));
    sets.halves[i].effective &= static_cast<std::uint32_t>(kMask >> (32 * i));
    sets.halves[i].inheritable = 0;
  }
  sets.write();
}

RaisedNetAdmin::RaisedNetAdmin() {
  set_net_admin(true);
}

RaisedNetAdmin::~RaisedNetAdmin() {
  set_net_admin(false);
}

}  // namespace mirrord::agent
