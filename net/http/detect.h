// net/http/detect.h — tells HTTP/1, HTTP/2 and everything else apart by a connection's first bytes.
#pragma once

#include <cstddef>
#include <span>

namespace mirrord::net::http {

enum class Detected {
  kNeedsMore,  // the bytes fit a beginning of HTTP; at most kDetectBytes are needed
  kHttp1,
  kHttp2,
  kOther,
};

// A request line that is longer counts as something else.
inline constexpr std::size_t kDetectBytes = 16 * 1024;

// `bytes` are all that the client has sent so far. The answer comes with the first byte that decides: TLS, SSH
// and most binary protocols with their first one; HTTP/2 with "PRI * HTTP/2.0"; HTTP/1 with the version at
// the end of its request line. A client that waits for the server to speak sends nothing: that takes a clock.
[[nodiscard]] Detected detect(std::span<const std::byte> bytes);

}  // namespace mirrord::net::http
