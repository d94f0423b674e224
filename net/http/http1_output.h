// net/http/http1_output.h — what an HTTP/1 connection writes: passed on at once, or held back on request.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <utility>

#include "net/http/message.h"

namespace mirrord::net::http {

class Http1Output {
 public:
  // `sink` gets the bytes; `mark` is the size above which producers should stop.
  Http1Output(std::move_only_function<void(std::span<const std::byte>)> sink, std::size_t mark)
      : sink_(std::move(sink)), mark_(mark) {}

  void write(std::span<const std::byte> bytes) {
    if (bytes.empty())
      return;
    if (!is_held_)
      return sink_(bytes);
    waiting_.append(as_text(bytes));
    is_above_ = is_above_ || waiting_.size() > mark_;
  }
  // Returns whether producers that have stopped may go on.
  bool hold(bool is_held) {
    is_held_ = is_held;
    if (is_held_)
      return false;
    flush();
    return std::exchange(is_above_, false);
  }
  // Lets everything go: the connection ends.
  void flush() {
    const std::string bytes = std::exchange(waiting_, {});
    if (!bytes.empty())
      sink_(as_bytes(bytes));
  }
  [[nodiscard]] std::size_t size() const { return waiting_.size(); }

 private:
  std::move_only_function<void(std::span<const std::byte>)> sink_;
  std::size_t mark_;
  std::string waiting_;
  bool is_held_ = false;
  bool is_above_ = false;
};

}  // namespace mirrord::net::http
