// net/http/body_start.h — gathers what has arrived of a body while its head waits to be handed over.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "net/http/message.h"

namespace mirrord::net::http {

// One piece is passed through where it lies; more are joined.
class BodyStartCollector {
 public:
  // Enough: the head is handed over with what there is.
  static constexpr std::size_t kMost = 64 * 1024;

  void add(std::span<const std::byte> piece) {
    if (size() == 0) {
      only_ = piece;
      return;
    }
    if (joined_.empty())
      joined_ = as_text(only_);
    joined_.append(as_text(piece));
  }
  [[nodiscard]] std::size_t size() const { return joined_.empty() ? only_.size() : joined_.size(); }
  [[nodiscard]] std::span<const std::byte> bytes() const {
    return joined_.empty() ? only_ : as_bytes(joined_);
  }

 private:
  std::span<const std::byte> only_;
  std::string joined_;
};

}  // namespace mirrord::net::http
