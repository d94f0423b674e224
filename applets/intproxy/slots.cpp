// applets/intproxy/slots.cpp — stores to shared slots in the order that readers expect.
#include "applets/intproxy/slots.h"

#include <atomic>

namespace mirrord::intproxy {
namespace {

template <class T>
void store(T& field, T value) {
  std::atomic_ref(field).store(value, std::memory_order_release);
}

template <class T>
T load(const T& field) {
  return std::atomic_ref(const_cast<T&>(field)).load(std::memory_order_acquire);
}

void bump(local::FileSlot& slot) {
  std::atomic_ref(slot.generation).fetch_add(1, std::memory_order_acq_rel);
}

}  // namespace

Slots::Slots(local::FileSlot* slots) : slots_(slots) {
  free_.reserve(local::kSlotCount);
  for (std::uint32_t i = local::kSlotCount; i > 0; --i) {
    free_.push_back(i - 1);  // low numbers first: only pages in use are resident
  }
}

std::uint32_t Slots::take(local::Handle handle) {
  if (free_.empty()) {
    return local::kNoSlot;
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  local::FileSlot& slot = slots_[index];
  store(slot.end, std::uint64_t{0});
  store(slot.begin, std::uint64_t{0});
  store(slot.flags, 0U);
  store(slot.file_size, std::uint64_t{0});
  store(slot.reader_position, std::uint64_t{0});
  store(slot.wants_nudge, 0U);
  store(slot.error, 0);
  store(slot.handle, handle);
  return index;
}

void Slots::give_back(std::uint32_t index) {
  if (index == local::kNoSlot) {
    return;
  }
  local::FileSlot& slot = slots_[index];
  store(slot.end, std::uint64_t{0});
  bump(slot);
  store(slot.handle, local::Handle{0});
  free_.push_back(index);
}

void set_window(local::FileSlot& slot, std::uint64_t begin, std::uint64_t end) {
  if (load(slot.begin) == begin && load(slot.end) <= end) {
    store(slot.end, end);  // grows: what a reader has checked stays true
    return;
  }
  store(slot.end, std::uint64_t{0});
  bump(slot);
  store(slot.begin, begin);
  store(slot.end, end);
}

void shrink_window(local::FileSlot& slot, std::uint64_t begin) {
  if (load(slot.begin) < begin) {
    store(slot.begin, begin);
    bump(slot);
  }
}

void set_size(local::FileSlot& slot, std::uint64_t size) {
  store(slot.file_size, size);
}

std::uint64_t reader_position(const local::FileSlot& slot) {
  return load(slot.reader_position);
}

bool ask_for_nudge(local::FileSlot& slot, std::uint64_t position) {
  store(slot.nudge_at, position);
  std::atomic_ref(slot.wants_nudge).store(1, std::memory_order_seq_cst);
  // The reader may have passed the position just before it could see the wish: one of the two sees
  // what the other has stored, as all four accesses are in one order.
  return std::atomic_ref(slot.reader_position).load(std::memory_order_seq_cst) < position;
}

void set_error(local::FileSlot& slot, int error_number) {
  store(slot.error, error_number);
  store(slot.flags, error_number != 0 ? local::kSlotWriteError : 0U);
}

}  // namespace mirrord::intproxy
