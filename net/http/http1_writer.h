// net/http/http1_writer.h — heads and bodies as HTTP/1 writes them, with the framing that fits both sides.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/http/message.h"

namespace mirrord::net::http {

// How the body behind a head goes out.
struct OutputFraming {
  enum class Kind {
    kNone,    // no body
    kLength,  // `left` bytes are to come
    kChunked,
    kUntilClose,  // raw bytes until the connection ends; also a tunnel's
  };
  Kind kind = Kind::kNone;
  std::uint64_t left = 0;
};

struct RequestContext {
  std::string_view method;
  Version version = Version::kHttp11;
  bool wants_keep_alive = true;
};

struct WrittenResponse {
  OutputFraming framing;
  bool keeps_alive = false;  // the connection may carry another exchange after this one
};

// Appends the final answer's head. `complete_size` is the body's length if all of it is known. Fields stay as they
// are, except that a framing that contradicts the body or the client's version is replaced, and Connection
// says "close" when it has to.
[[nodiscard]] WrittenResponse write_response_head(std::string& output, const ResponseHead& head,
                                                  const RequestContext& request,
                                                  std::optional<std::size_t> complete_size);
// Appends a 1xx head, 101 included.
void write_interim_head(std::string& output, const ResponseHead& head);
// Appends a request's head.
[[nodiscard]] OutputFraming write_request_head(std::string& output, const RequestHead& head,
                                               std::optional<std::size_t> complete_size);

// Writes body bytes in that framing: calls `write` with pieces. Returns false if they exceed the length.
template <class Write>
[[nodiscard]] bool write_body(OutputFraming& framing, std::span<const std::byte> bytes,
                              Write&& write);
// What ends the body; nothing is appended where the framing needs nothing. False if bytes are missing.
[[nodiscard]] bool write_body_end(OutputFraming& framing, const Headers& trailers,
                                  std::string& output);

// "1f40\r\n"
[[nodiscard]] std::string chunk_line(std::size_t size);

template <class Write>
bool write_body(OutputFraming& framing, std::span<const std::byte> bytes, Write&& write) {
  if (bytes.empty())
    return true;
  switch (framing.kind) {
    case OutputFraming::Kind::kNone:
      return true;  // a body that must not be sent (HEAD) is swallowed
    case OutputFraming::Kind::kLength:
      if (bytes.size() > framing.left)
        return false;
      framing.left -= bytes.size();
      write(bytes);
      return true;
    case OutputFraming::Kind::kChunked:
      write(as_bytes(chunk_line(bytes.size())));
      write(bytes);
      write(as_bytes("\r\n"));
      return true;
    case OutputFraming::Kind::kUntilClose:
      write(bytes);
      return true;
  }
  return false;
}

}  // namespace mirrord::net::http
