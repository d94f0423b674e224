// proto/bytes.h — an owned, contiguous run of bytes that grows without zero-filling.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <string_view>
#include <utility>

namespace mirrord::proto {

// Payloads and output buffers. Moving is three words. Growth uses realloc because the C library
// moves large blocks by remapping pages, so a payload of many MiB that grows as it arrives is not
// copied again and again. New space is never zero-filled: it is always written by a read or memcpy.
class Bytes {
 public:
  Bytes() = default;
  explicit Bytes(std::span<const std::byte> content) { append(content); }
  explicit Bytes(std::string_view text) { append(text); }
  Bytes(const Bytes& other) { append(other.span()); }
  Bytes(Bytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  Bytes& operator=(Bytes other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~Bytes() { std::free(data_); }

  static Bytes with_capacity(std::size_t capacity) {
    Bytes bytes;
    bytes.reserve(capacity);
    return bytes;
  }

  const std::byte* data() const { return data_; }
  std::byte* data() { return data_; }
  std::size_t size() const { return size_; }
  std::size_t capacity() const { return capacity_; }
  bool empty() const { return size_ == 0; }
  const std::byte* begin() const { return data_; }
  const std::byte* end() const { return data_ + size_; }
  std::span<const std::byte> span() const { return {data_, size_}; }
  std::span<std::byte> span() { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

  // Gives the block away, to be freed with free(). Null when nothing was ever held.
  [[nodiscard]] std::byte* release() {
    size_ = capacity_ = 0;
    return std::exchange(data_, nullptr);
  }

  // Fill in place: read into spare(), then commit() what arrived.
  std::span<std::byte> spare() { return {data_ + size_, capacity_ - size_}; }
  void commit(std::size_t count) { size_ += std::min(count, capacity_ - size_); }

  // Exactly this capacity if it is more than there is.
  void reserve(std::size_t capacity) {
    if (capacity <= capacity_)
      return;
    void* grown = std::realloc(data_, capacity);
    if (grown == nullptr)
      throw std::bad_alloc();
    data_ = static_cast<std::byte*>(grown);
    capacity_ = capacity;
  }

  void append(std::span<const std::byte> content) {
    if (content.empty())
      return;
    grow_for(content.size());
    std::memcpy(data_ + size_, content.data(), content.size());
    size_ += content.size();
  }
  void append(std::string_view text) { append(std::as_bytes(std::span(text))); }

  // Lengthens by count unwritten bytes, which are returned.
  std::span<std::byte> extend(std::size_t count) {
    grow_for(count);
    size_ += count;
    return span().last(count);
  }

  void truncate(std::size_t size) { size_ = std::min(size, size_); }
  void clear() { size_ = 0; }

  friend bool operator==(const Bytes& a, const Bytes& b) { return a.text() == b.text(); }

 private:
  void grow_for(std::size_t extra) {
    if (extra > capacity_ - size_)
      reserve(std::max(size_ + extra, capacity_ + capacity_ / 2));
  }

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace mirrord::proto
