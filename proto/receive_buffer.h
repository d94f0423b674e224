// proto/receive_buffer.h — space that many sockets of a loop receive into, one after the other.
#pragma once

#include <utility>

#include "proto/bytes.h"

namespace mirrord::proto {

class ReceiveBuffer {
 public:
  static constexpr std::size_t kSize = 256 * 1024;

  // For one read. What was received before and not taken is lost.
  std::span<std::byte> space() {
    buffer_.clear();
    buffer_.reserve(kSize);
    return buffer_.spare();
  }
  // The first `count` bytes of the space as a payload. Much is given away where it lies, little is
  // copied, so that payloads do not hold on to large blocks.
  Bytes take(std::size_t count) {
    buffer_.commit(count);
    return count >= kSize / 2 ? std::exchange(buffer_, {}) : Bytes(buffer_.span());
  }

 private:
  Bytes buffer_;
};

}  // namespace mirrord::proto
