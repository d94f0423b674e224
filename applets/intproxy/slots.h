// applets/intproxy/slots.h — the shared file slots: which are free, and their windows.
#pragma once

#include <cstdint>
#include <vector>

#include "proto/local.h"

namespace mirrord::intproxy {

// Hooks read slots without a lock; the order of the stores here is what they rely on (local.h).
class Slots {
 public:
  explicit Slots(local::FileSlot* slots);

  // kNoSlot when all are in use.
  std::uint32_t take(local::Handle handle);
  void give_back(std::uint32_t index);
  [[nodiscard]] local::FileSlot* at(std::uint32_t index) {
    return index == local::kNoSlot ? nullptr : slots_ + index;
  }

 private:
  local::FileSlot* slots_;
  std::vector<std::uint32_t> free_;
};

void set_window(local::FileSlot& slot, std::uint64_t begin, std::uint64_t end);
// Moves the beginning forward; the bytes before it may be freed afterwards.
void shrink_window(local::FileSlot& slot, std::uint64_t begin);
void set_size(local::FileSlot& slot, std::uint64_t size);
[[nodiscard]] std::uint64_t reader_position(const local::FileSlot& slot);
// Asks the hook to say when the reader has got to `position`. False when it is there already.
[[nodiscard]] bool ask_for_nudge(local::FileSlot& slot, std::uint64_t position);
void set_error(local::FileSlot& slot, int error_number);

}  // namespace mirrord::intproxy
