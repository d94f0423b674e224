// hook/go.cpp — system calls made in the text of a Go program arrive here as SIGSYS.
//
// The kernel's syscall user dispatch raises SIGSYS for each call made outside an allowed range of
// addresses. The range is everything above the executable's text, where libc and this library
// are. It belongs to a thread, and ends with fork and exec. Three things would break it, and are
// corrected: SIGSYS blocked (the kernel then kills the process), SIGSYS taken by the runtime, and
// calls that act on the signal frame itself (mask, alternate stack, sigreturn).
#include "hook/go.h"

#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <ucontext.h>

#include "hook/original.h"
#include "hook/raw_calls.h"
#include "hook/report.h"
#include "hook/session.h"

namespace mirrord::hook {
namespace {

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif
#ifndef PR_SYS_DISPATCH_ON
#define PR_SYS_DISPATCH_ON 1
#endif

constexpr uint32_t kGoBuildIdNote = 4;        // cmd/internal/buildid
constexpr uint64_t kKernelSignalSetSize = 8;  // bytes of the kernel's sigset_t
constexpr uint64_t kSigsysBit = 1ULL << (SIGSYS - 1);
constexpr uintptr_t kUserSpaceEnd = 0x7FFF'FFFF'F000;

bool is_trapping = false;  // set once by the constructor, before other threads exist
uintptr_t text_end = 0;

// A PT_NOTE of the owner "Go": the linker writes one into every Go executable.
bool has_go_note(const char* notes, size_t size) {
  while (size >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) note;
    memcpy(&note, notes, sizeof note);
    const size_t name_size = (note.n_namesz + 3U) & ~size_t{3};
    const size_t total = sizeof note + name_size + ((note.n_descsz + 3U) & ~size_t{3});
    if (total > size) {
      return false;
    }
    if (note.n_type == kGoBuildIdNote && note.n_namesz == 4 &&
        memcmp(notes + sizeof note, "Go\0", 4) == 0) {
      return true;
    }
    notes += total;
    size -= total;
  }
  return false;
}

// Sets text_end when the executable is a Go program.
bool find_go_text() {
  const auto* headers = reinterpret_cast<const ElfW(Phdr)*>(getauxval(AT_PHDR));
  const unsigned long count = getauxval(AT_PHNUM);
  if (headers == nullptr) {
    return false;
  }
  uintptr_t base = 0;
  for (unsigned long i = 0; i < count; ++i) {
    if (headers[i].p_type == PT_PHDR) {
      base = reinterpret_cast<uintptr_t>(headers) - headers[i].p_vaddr;
    }
  }
  bool is_go = false;
  for (unsigned long i = 0; i < count; ++i) {
    const ElfW(Phdr)& header = headers[i];
    if (header.p_type == PT_NOTE) {
      is_go = is_go ||
              has_go_note(reinterpret_cast<const char*>(base + header.p_vaddr), header.p_memsz);
    }
    if (header.p_type == PT_LOAD && (header.p_flags & PF_X) != 0) {
      const uintptr_t end = base + header.p_vaddr + header.p_memsz;
      text_end = end > text_end ? end : text_end;
    }
  }
  return is_go;
}

bool dispatch_this_thread() {
  const uintptr_t allowed = (text_end + 4095) & ~uintptr_t{4095};
  return !failed(raw(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, allowed,
                     kUserSpaceEnd - allowed, nullptr));
}

// The registers of a trapped call.
struct TrappedCall {
  explicit TrappedCall(ucontext_t* at) : context(at) {
#if defined(__x86_64__)
    const auto* r = at->uc_mcontext.gregs;
    number = r[REG_RAX];
    const long values[6] = {r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]};
#else
    const auto* r = at->uc_mcontext.regs;
    number = static_cast<long>(r[8]);
    const long values[6] = {static_cast<long>(r[0]), static_cast<long>(r[1]),
                            static_cast<long>(r[2]), static_cast<long>(r[3]),
                            static_cast<long>(r[4]), static_cast<long>(r[5])};
#endif
    memcpy(arguments, values, sizeof values);
  }
  void set_result(long value) {
#if defined(__x86_64__)
    context->uc_mcontext.gregs[REG_RAX] = value;
#else
    context->uc_mcontext.regs[0] = static_cast<unsigned long>(value);
#endif
  }

  ucontext_t* context;
  long number;
  long arguments[6];
};

// The mask in force is the one in the frame: sigreturn will load it from there.
long change_mask(TrappedCall& call) {
  uint64_t mask;
  memcpy(&mask, &call.context->uc_sigmask, sizeof mask);
  const auto* wanted = reinterpret_cast<const uint64_t*>(call.arguments[1]);
  auto* old = reinterpret_cast<uint64_t*>(call.arguments[2]);
  const uint64_t before = mask;
  if (static_cast<uint64_t>(call.arguments[3]) != kKernelSignalSetSize) {
    return -EINVAL;
  }
  if (wanted != nullptr) {
    switch (call.arguments[0]) {
      case SIG_BLOCK:
        mask |= *wanted;
        break;
      case SIG_UNBLOCK:
        mask &= ~*wanted;
        break;
      case SIG_SETMASK:
        mask = *wanted;
        break;
      default:
        return -EINVAL;
    }
    mask &= ~kSigsysBit;
    memcpy(&call.context->uc_sigmask, &mask, sizeof mask);
  }
  if (old != nullptr) {
    *old = before;
  }
  return 0;
}

uintptr_t stack_pointer(const ucontext_t& context) {
#if defined(__x86_64__)
  return static_cast<uintptr_t>(context.uc_mcontext.gregs[REG_RSP]);
#else
  return static_cast<uintptr_t>(context.uc_mcontext.sp);
#endif
}

// So is the alternate stack. Its flags there are not what sigaltstack(2) reports.
long change_stack(TrappedCall& call) {
  const auto* wanted = reinterpret_cast<const stack_t*>(call.arguments[0]);
  auto* old = reinterpret_cast<stack_t*>(call.arguments[1]);
  stack_t before = call.context->uc_stack;
  const bool is_on_it =
      stack_pointer(*call.context) - reinterpret_cast<uintptr_t>(before.ss_sp) < before.ss_size;
  before.ss_flags = before.ss_size == 0 ? SS_DISABLE : is_on_it ? SS_ONSTACK : 0;
  if (wanted != nullptr && is_on_it) {
    return -EPERM;
  }
  if (wanted != nullptr) {
    call.context->uc_stack = *wanted;
  }
  if (old != nullptr) {
    *old = before;
  }
  return 0;
}

// The kernel's struct sigaction (x86_64 and aarch64 agree up to the mask's place).
struct KernelSigaction {
  void* handler;
  unsigned long flags;
  void* restorer;
  uint64_t mask;
};

long change_action(TrappedCall& call) {
  const auto* wanted = reinterpret_cast<const KernelSigaction*>(call.arguments[1]);
  auto* old = reinterpret_cast<KernelSigaction*>(call.arguments[2]);
  if (call.arguments[0] == SIGSYS) {
    if (old != nullptr) {
      *old = KernelSigaction{};
    }
    return 0;
  }
  KernelSigaction copy;
  if (wanted != nullptr) {
    copy = *wanted;
    copy.mask &= ~kSigsysBit;
    wanted = &copy;
  }
  return raw(SYS_rt_sigaction, call.arguments[0], wanted, old, call.arguments[3]);
}

// A child that shares memory would run in this very frame: it gets its own copy instead, and the
// parent still waits for its exec (CLONE_VFORK stays).
long make_child(TrappedCall& call) {
  long(&a)[6] = call.arguments;
  if ((a[0] & CLONE_THREAD) == 0) {
    a[0] &= ~CLONE_VM;
  }
  return syscall6(SYS_clone, a[0], a[1], a[2], a[3], a[4], 0);
}

long make_child3(TrappedCall& call) {
  uint64_t copy[16] = {};
  const auto size = static_cast<size_t>(call.arguments[1]);
  if (size < sizeof(uint64_t) || size > sizeof copy) {
    return -EINVAL;
  }
  memcpy(copy, reinterpret_cast<const void*>(call.arguments[0]), size);
  if ((copy[0] & CLONE_THREAD) == 0) {
    copy[0] &= ~static_cast<uint64_t>(CLONE_VM);
  }
  return raw(SYS_clone3, copy, size);
}

[[noreturn]] void return_from_outer_signal(ucontext_t* context) {
#if defined(__x86_64__)
  asm volatile(
      "mov %0, %%rsp\n"
      "syscall\n"
      :
      : "r"(stack_pointer(*context)), "a"(SYS_rt_sigreturn)
      : "memory");
#else
  register long number asm("x8") = SYS_rt_sigreturn;
  asm volatile(
      "mov sp, %0\n"
      "svc 0\n"
      :
      : "r"(stack_pointer(*context)), "r"(number)
      : "memory");
#endif
  __builtin_unreachable();
}

long answer(TrappedCall& call) {
  switch (call.number) {
    case SYS_rt_sigprocmask:
      return change_mask(call);
    case SYS_sigaltstack:
      return change_stack(call);
    case SYS_rt_sigaction:
      return change_action(call);
    case SYS_clone:
      return make_child(call);
    case SYS_clone3:
      return make_child3(call);
#ifdef SYS_vfork
    case SYS_vfork:
    case SYS_fork:
      return syscall6(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0);
#endif
    default:
      break;
  }
  long result;
  if (route_raw_call(call.number, call.arguments, &result)) {
    return result;
  }
  const long(&a)[6] = call.arguments;
  return syscall6(call.number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

void on_trapped_call(int, siginfo_t*, void* at) {
  auto* context = static_cast<ucontext_t*>(at);
  TrappedCall call(context);
  if (call.number == SYS_rt_sigreturn) {
    return_from_outer_signal(context);
  }
  const SavedErrno saved;
  call.set_result(answer(call));
}

struct ThreadStart {
  void* (*routine)(void*);
  void* argument;
};

void* start_thread(void* at) {
  const ThreadStart start = *static_cast<ThreadStart*>(at);
  free(at);
  const uint64_t sigsys = kSigsysBit;
  raw(SYS_rt_sigprocmask, SIG_UNBLOCK, &sigsys, nullptr, kKernelSignalSetSize);
  (void)dispatch_this_thread();
  return start.routine(start.argument);
}

// The caller's set without SIGSYS.
const sigset_t* without_sigsys(const sigset_t* set, sigset_t* copy) {
  if (set == nullptr) {
    return nullptr;
  }
  memcpy(copy, set, sizeof *copy);
  sigdelset(copy, SIGSYS);
  return copy;
}

}  // namespace

void trap_go_calls() {
  if (!find_go_text()) {
    return;
  }
  struct sigaction action = {};
  action.sa_sigaction = on_trapped_call;
  // NODEFER and an empty mask: the call made in the handler may block, and be interrupted.
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  if (ORIGINAL(sigaction)(SIGSYS, &action, nullptr) != 0 || !dispatch_this_thread()) {
    report(
        "this Go program's files and connections stay local: the kernel offers no syscall user "
        "dispatch (Linux 5.11 or newer, x86_64)");
    return;
  }
  is_trapping = true;
}

}  // namespace mirrord::hook

using namespace mirrord::hook;

int hk_sigaction(int signal_number, const struct sigaction* action, struct sigaction* old) {
  if (!is_trapping) {
    return ORIGINAL(sigaction)(signal_number, action, old);
  }
  if (signal_number == SIGSYS) {
    if (old != nullptr) {
      *old = {};
    }
    return 0;
  }
  struct sigaction copy;
  if (action != nullptr) {
    copy = *action;
    sigdelset(&copy.sa_mask, SIGSYS);
    action = &copy;
  }
  return ORIGINAL(sigaction)(signal_number, action, old);
}

int hk_sigprocmask(int how, const sigset_t* set, sigset_t* old) {
  sigset_t copy;
  return ORIGINAL(sigprocmask)(
      how, is_trapping && how != SIG_UNBLOCK ? without_sigsys(set, &copy) : set, old);
}

int hk_pthread_sigmask(int how, const sigset_t* set, sigset_t* old) {
  sigset_t copy;
  return ORIGINAL(pthread_sigmask)(
      how, is_trapping && how != SIG_UNBLOCK ? without_sigsys(set, &copy) : set, old);
}

int hk_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*routine)(void*),
                      void* argument) {
  if (!is_trapping) {
    return ORIGINAL(pthread_create)(thread, attributes, routine, argument);
  }
  auto* start = static_cast<ThreadStart*>(malloc(sizeof(ThreadStart)));
  if (start == nullptr) {
    return EAGAIN;
  }
  *start = {routine, argument};
  const int error = ORIGINAL(pthread_create)(thread, attributes, start_thread, start);
  if (error != 0) {
    free(start);
  }
  return error;
}
