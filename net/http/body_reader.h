// net/http/body_reader.h — where an HTTP/1 body ends: lengths, chunks, trailers (RFC 9112 §6 and §7).
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>

#include "net/http/head_parser.h"
#include "net/http/limits.h"
#include "net/http/message.h"

namespace mirrord::net::http {

struct Framing {
  enum class Kind { kNone, kLength, kChunked, kUntilClose };
  Kind kind = Kind::kNone;
  std::uint64_t length = 0;  // of kLength

  friend bool operator==(const Framing&, const Framing&) = default;
};

struct Refusal {
  int status;  // what a server answers
  std::string_view why;
};

// How the body of a received message is framed. What two parsers could read in two ways is refused: a length
// beside a transfer coding, lengths that differ, a coding other than one "chunked", a coding in HTTP/1.0, two
// Hosts (RFC 9112 §6.1, §6.3, §3.2).
[[nodiscard]] std::expected<Framing, Refusal> framing_of(const RequestHead& head);
[[nodiscard]] std::expected<Framing, Refusal> framing_of(const ResponseHead& head,
                                                         std::string_view method);

// The length that "Content-Length" gives: digits only; several times the same one counts as one.
[[nodiscard]] std::expected<std::uint64_t, Refusal> content_length(const Headers& headers);

// Takes a body out of the stream behind its head.
class BodyReader {
 public:
  enum class Event {
    kNeedsMore,  // `bytes` is used up
    kData,       // `data` is part of the body
    kEnd,        // the message is complete; what is left of `bytes` belongs to the next one
    kBad,        // the chunks are broken: error()
  };

  explicit BodyReader(const Limits& limits)
      : limits_(&limits), trailers_(HeadParser::Kind::kTrailers, limits) {}

  void start(const Framing& framing);
  // Takes from the front of `bytes`; `data` is a part of it.
  Event next(std::span<const std::byte>& bytes, std::span<const std::byte>& data);
  // The transport has ended: whether the body is complete with that.
  [[nodiscard]] bool ends_with_transport() const {
    return framing_.kind == Framing::Kind::kUntilClose;
  }
  // After kEnd, once.
  Headers take_trailers();
  [[nodiscard]] std::string_view error() const { return error_; }

 private:
  enum class ChunkState { kSize, kExtension, kSizeEnd, kData, kDataCr, kDataLf, kTrailers };

  Event take_data(std::span<const std::byte>& bytes, std::span<const std::byte>& data);
  Event take_chunk_line(std::span<const std::byte>& bytes);
  bool take_chunk_byte(char byte);
  Event take_trailers_from(std::span<const std::byte>& bytes);
  Event refuse(std::string_view why);

  const Limits* limits_;
  Framing framing_;
  std::uint64_t left_ = 0;  // of a length, or of the chunk that is open
  ChunkState chunk_state_ = ChunkState::kSize;
  std::size_t chunk_line_ = 0;  // bytes of the chunk's line so far
  std::size_t digits_ = 0;
  HeadParser trailers_;
  std::string partial_trailer_;
  std::string_view error_;
};

}  // namespace mirrord::net::http
