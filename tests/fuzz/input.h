// tests/fuzz/input.h — the bytes of a fuzz input as choices; zeros when they are used up.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>

namespace mirrord::fuzz {

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}

  [[nodiscard]] bool is_empty() const { return rest_.empty(); }
  template <class T>
    requires std::is_integral_v<T>
  T take() {
    T value{};
    const std::size_t count = std::min(sizeof value, rest_.size());
    std::memcpy(&value, rest_.data(), count);
    rest_ = rest_.subspan(count);
    return value;
  }
  std::string text(std::size_t size) {
    size = std::min(size, rest_.size());
    std::string result(reinterpret_cast<const char*>(rest_.data()), size);
    rest_ = rest_.subspan(size);
    return result;
  }

 private:
  std::span<const std::uint8_t> rest_;
};

}  // namespace mirrord::fuzz
