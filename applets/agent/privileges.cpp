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

constexpr std::uint64_t kept_mask() {
  std::uint64_t mask = 0;
  for (const int capability : kKept)
    mask |= std::uint64_t{1} << capability;
  return mask;
}

}  // namespace

void drop_privileges() {
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  constexpr std::uint64_t kMask = kept_mask();
  for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    if ((kMask >> capability & 1) == 0)
      ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> sets{};
  if (::syscall(SYS_capget, &header, sets.data()) != 0)
    return;
  for (std::size_t i = 0; i < sets.size(); ++i) {
    const auto mask = static_cast<std::uint32_t>(kMask >> (32 * i));
    sets[i].permitted &= mask;
    sets[i].effective &= mask;
    sets[i].inheritable = 0;
  }
  ::syscall(SYS_capset, &header, sets.data());
}

}  // namespace mirrord::agent
