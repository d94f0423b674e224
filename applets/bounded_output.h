// applets/bounded_output.h — text for standard output from a loop that must not wait for whoever reads it.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "net/error.h"

namespace mirrord {

// Records are written whole and in order by a thread of its own. When the reader is slow and kCapacity
// is full, further records are dropped, and one line says what was lost as soon as there is room.
class BoundedOutput {
 public:
  static constexpr std::size_t kCapacity = 8 << 20;

  // Writes to `descriptor`, which stays the caller's. Signals that the loop watches must be watched by
  // now: the thread inherits what is blocked.
  static Result<BoundedOutput> start(int descriptor);
  ~BoundedOutput();  // what is queued and was not finished is dropped
  BoundedOutput(BoundedOutput&& other) noexcept = default;
  BoundedOutput& operator=(BoundedOutput&&) = delete;

  void write(std::string record);
  // Becomes readable when the output has failed: the reader is gone, the disk is full.
  [[nodiscard]] int failed_descriptor() const;
  // What failed, as errno; 0: nothing.
  [[nodiscard]] int failure() const;
  // Waits until all is written, or has failed, or for this long.
  void finish(std::chrono::milliseconds limit);

 private:
  struct State;
  explicit BoundedOutput(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;  // shared with the thread, which may be stuck in a write for ever
};

}  // namespace mirrord
