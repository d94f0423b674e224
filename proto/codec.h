// proto/codec.h — messages to bytes and back: one value at a time, in memory.
//
// A message is a bincode value without frame or length prefix; see docs/wire.md. Streams are
// decoded by stream_decoder.h.
#pragma once

#include <cstddef>
#include <expected>
#include <span>
#include <string>

#include "proto/basic.h"
#include "proto/client_message.h"
#include "proto/daemon_message.h"

namespace mirrord::proto {

// What a peer may make a decoder hold. The announced length of one byte or text string:
inline constexpr u64 kMaxLength = u64{64} << 20;
// … all content of one message: strings, and list elements at their size in memory:
inline constexpr u64 kMaxMessageMemory = u64{128} << 20;
// … distinct header names of one HTTP message:
inline constexpr u64 kMaxHeaderNames = 24576;

struct DecodeError {
  std::string what;
  u64 offset = 0;           // of the offending element in the input
  bool incomplete = false;  // the input is a proper prefix of something that may be valid
};

// Decodes the value at the start of input and says how many bytes it took; `out` changes only on
// success. Bytes after the value are left alone.
[[nodiscard]] std::expected<std::size_t, DecodeError> decode(std::span<const std::byte> input,
                                                             ClientMessage& out);
[[nodiscard]] std::expected<std::size_t, DecodeError> decode(std::span<const std::byte> input,
                                                             DaemonMessage& out);

// Only text can make a message unfit for the wire: not UTF-8, not a valid HTTP element.
struct EncodeError {
  std::string what;
};

[[nodiscard]] std::expected<std::size_t, EncodeError> encoded_size(const ClientMessage& message);
[[nodiscard]] std::expected<std::size_t, EncodeError> encoded_size(const DaemonMessage& message);

// Appends the whole message, or nothing.
[[nodiscard]] std::expected<void, EncodeError> encode(const ClientMessage& message, Bytes& out);
[[nodiscard]] std::expected<void, EncodeError> encode(const DaemonMessage& message, Bytes& out);

// A message ready for a gather write: head, payload, tail, in this order. The payload is the
// message's own first byte string of kMinDetached or more, moved, not copied; else it is empty.
struct OutgoingMessage {
  Bytes frame;            // head and tail, back to back
  std::size_t split = 0;  // where the payload goes in between
  Bytes payload;

  std::span<const std::byte> head() const { return frame.span().first(split); }
  std::span<const std::byte> tail() const { return frame.span().subspan(split); }
  std::size_t size() const { return frame.size() + payload.size(); }
};
inline constexpr std::size_t kMinDetached = 4096;

[[nodiscard]] std::expected<OutgoingMessage, EncodeError> encode_parts(ClientMessage&& message);
[[nodiscard]] std::expected<OutgoingMessage, EncodeError> encode_parts(DaemonMessage&& message);

// Head and tail of a message around a payload that is not in memory: `size` bytes, more than none,
// in the place of `payload`, a byte string of the message.
[[nodiscard]] std::expected<OutgoingMessage, EncodeError> encode_around(
    const ClientMessage& message, const Bytes& payload, std::size_t size);
[[nodiscard]] std::expected<OutgoingMessage, EncodeError> encode_around(
    const DaemonMessage& message, const Bytes& payload, std::size_t size);

}  // namespace mirrord::proto
