// net/http/limits.h — what one peer may cost: every bound of the HTTP engine in one place.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mirrord::net::http {

struct Limits {
  // A head (request or status line and fields; HTTP/2: the field list as RFC 9113 §6.5.2 counts it) and
  // likewise a trailer section. More is answered with 431.
  std::size_t head_bytes = 64 * 1024;
  std::size_t header_count = 256;
  // Method, target and version. More is answered with 414.
  std::size_t request_line_bytes = 16 * 1024;
  // A chunk's size with its extensions.
  std::size_t chunk_line_bytes = 1024;
  // Empty lines that may precede a request line (RFC 9112 §2.2).
  std::size_t leading_empty_lines = 4;

  // HTTP/2. What a peer may send of one body, and of all, before it is consumed.
  std::uint32_t stream_window = 256 * 1024;
  std::uint32_t connection_window = 8 * 1024 * 1024;
  std::uint32_t concurrent_streams = 256;
  // Frames that carry nothing (empty DATA, PRIORITY, unknown ones) in a row without anything useful between.
  std::uint32_t useless_frames = 1000;
  // Streams that a client resets: so many at once, and so many per second on (CVE-2023-44487).
  std::uint32_t reset_burst = 1000, resets_per_second = 100;

  // HTTP/1: bytes of a body that may be unconsumed before input is no longer wanted.
  std::size_t body_bytes = 256 * 1024;
  // Output of one exchange that waits; `drained` is called when it falls below half of it.
  std::size_t queued_bytes = 256 * 1024;
};

}  // namespace mirrord::net::http
