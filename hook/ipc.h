// hook/ipc.h — requests to the intproxy over a pool of connections: one request at a time on each,
// so threads never wait for one another and nothing locked is inherited by fork.
#pragma once

#include <sys/uio.h>

#include "hook/libc.h"

namespace mirrord::hook {

// One packet to send: the header is made from `type`, then the fixed part, then up to kMaxParts
// variable parts straight from the caller's memory.
inline constexpr int kMaxParts = 16;

struct Request {
  local::MessageType type;
  const void* fixed = nullptr;
  size_t fixed_size = 0;
  const iovec* parts = nullptr;
  int part_count = 0;
  int descriptor = -1;  // travels with the packet
};

// Where the answer goes. `data_size` and `descriptor` are results.
struct Answer {
  void* fixed = nullptr;
  size_t fixed_size = 0;
  const iovec* parts = nullptr;  // variable bytes are scattered into these
  int part_count = 0;
  size_t data_size = 0;
  int descriptor = -1;  // received, close-on-exec, wherever the kernel put it; -1: none
  bool wants_descriptor = false;
};

// Sends and waits for the answer. Returns 0 or the errno of the answer (kResolve: an EAI_* code);
// kLost when the intproxy cannot be reached, after saying so once on standard error.
inline constexpr int kLost = 1 << 16;
[[nodiscard]] int call(const Request& request, Answer& answer);
// The same, with `lost_error` in place of kLost: EIO for files, ECONNRESET or so for sockets.
[[nodiscard]] int call(const Request& request, Answer& answer, int lost_error);
// Sends without waiting (messages marked one-way). False: the intproxy is gone.
bool notify(const Request& request);

// A request whose fixed parts are `Fixed` and `Reply` and that carries one variable part.
template <class Fixed, class Reply>
[[nodiscard]] int exchange(local::MessageType type, const Fixed& fixed, Reply& reply,
                           const char* text = nullptr, size_t text_size = 0) {
  iovec part = {const_cast<char*>(text), text_size};
  Request request = {type, &fixed, sizeof fixed, &part, text_size != 0 ? 1 : 0, -1};
  Answer answer = {&reply, sizeof reply, nullptr, 0, 0, -1, false};
  return call(request, answer, EIO);
}
// The same without a reply but its error.
template <class Fixed>
[[nodiscard]] int ask(local::MessageType type, const Fixed& fixed, const char* text = nullptr,
                      size_t text_size = 0) {
  iovec part = {const_cast<char*>(text), text_size};
  Request request = {type, &fixed, sizeof fixed, &part, text_size != 0 ? 1 : 0, -1};
  Answer answer;
  return call(request, answer, EIO);
}

// Opens the process's first connection and says Hello. False: the intproxy cannot be reached.
bool connect_at_start();

// Own descriptors.
// Moves `fd` above the program's, close-on-exec; closes the given one. Negative errno on failure.
int place_high(int fd);
// Whether the descriptor belongs to the hook: the program must not close or replace it.
bool is_own_descriptor(int fd);
// The lowest own descriptor at or above `fd`, or -1.
int next_own_descriptor(int fd);
// The program insists on this number (dup2): the hook's descriptor moves elsewhere.
void yield_own_descriptor(int fd);

// fork, in the order of use. The parent calls prepare, then the original, then one of the others.
struct ForkHandover {
  int child_end = -1;
  uint64_t child_key = 0;
};
void prepare_fork(ForkHandover& handover);
void finish_fork_in_parent(ForkHandover& handover);
void finish_fork_in_child(ForkHandover& handover);

}  // namespace mirrord::hook
