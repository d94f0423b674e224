// hook/syscall.h — raw system calls: the hook's own work never passes through an interposed name.
#pragma once

#include <stdint.h>
#include <sys/syscall.h>

namespace mirrord::hook {

// Returns the kernel's result: a negative errno on failure. Leaves errno alone.
#if defined(__x86_64__)
inline long syscall6(long number, long a, long b, long c, long d, long e, long f) {
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  long result;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}
#elif defined(__aarch64__)
inline long syscall6(long number, long a, long b, long c, long d, long e, long f) {
  register long x8 asm("x8") = number;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = e;
  register long x5 asm("x5") = f;
  asm volatile("svc 0"
               : "+r"(x0)
               : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
               : "memory");
  return x0;
}
#else
#error "the hook knows x86_64 and aarch64"
#endif

// Pointers and integers alike, as the kernel takes them.
template <class T>
inline long syscall_argument(T value) {
  if constexpr (__is_same(T, decltype(nullptr))) {
    return 0;
  } else if constexpr (requires { static_cast<long>(value); }) {
    return static_cast<long>(value);
  } else {
    return reinterpret_cast<long>(value);
  }
}

template <class A = long, class B = long, class C = long, class D = long, class E = long,
          class F = long>
inline long raw(long number, A a = {}, B b = {}, C c = {}, D d = {}, E e = {}, F f = {}) {
  return syscall6(number, syscall_argument(a), syscall_argument(b), syscall_argument(c),
                  syscall_argument(d), syscall_argument(e), syscall_argument(f));
}

inline bool failed(long result) {
  return result < 0 && result >= -4095;
}

}  // namespace mirrord::hook
