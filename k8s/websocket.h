// k8s/websocket.h — the client's side of WebSocket framing (RFC 6455) on bytes in memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/error.h"

namespace mirrord::k8s {

enum class WsOpcode : std::uint8_t {
  kContinuation = 0,
  kText = 1,
  kBinary = 2,
  kClose = 8,
  kPing = 9,
  kPong = 10,
};

// The value of Sec-WebSocket-Key for one request, and the Sec-WebSocket-Accept that answers it.
std::string make_websocket_key();
std::string websocket_accept(std::string_view key);

// Makes frames. A client's frames are masked, with a new key each.
class WsWriter {
 public:
  // Room that must lie before the payload of `frame_in_place`.
  static constexpr std::size_t kHeaderRoom = 14;

  // Masks the `size` bytes at `payload` and puts a header before them; returns the whole frame. One
  // frame is one message.
  std::span<std::byte> frame_in_place(std::byte* payload, std::size_t size, WsOpcode opcode);
  // The same with a copy, for small payloads.
  std::vector<std::byte> frame(std::span<const std::byte> payload, WsOpcode opcode);

 private:
  std::uint32_t next_mask();
  std::array<std::uint32_t, 64> masks_{};  // random numbers in stock
  std::size_t masks_left_ = 0;
};

// Takes a server's frames apart as they come. Payloads are handed on in pieces where they lie and are
// never gathered, so a frame's length costs no memory.
class WsReader {
 public:
  struct Event {
    enum class Kind {
      kNeedMore,  // all that is left of the input begins something that is not complete
      kPayload,   // a piece of a data message; may be empty
      kControl,   // a whole ping, pong or close
      kBroken,    // not WebSocket; `error` says why
    };
    Kind kind = Kind::kNeedMore;
    WsOpcode opcode = WsOpcode::kBinary;  // kPayload: kText or kBinary
    bool begins_message = false, ends_message = false;
    std::span<const std::byte> payload;  // within the input, or for kControl within the reader
    std::string error;
  };
  // Takes the next event off the front of `input`. What it leaves comes again, with more behind.
  Event next(std::span<const std::byte>& input);

  static constexpr std::uint64_t kMaxFrame = std::uint64_t{64} << 20;  // no server has a use for it

 private:
  Event take_header(std::span<const std::byte>& input);
  Event begin_frame(std::span<const std::byte> header);
  Event take_payload(std::span<const std::byte>& input);

  bool in_frame_ = false;
  bool is_final_ = false;
  bool in_message_ = false;  // a fragmented one that is not over
  bool begins_message_ = false;
  WsOpcode frame_opcode_ = WsOpcode::kBinary;
  WsOpcode message_opcode_ = WsOpcode::kBinary;
  std::uint64_t left_ = 0;  // of the frame
  std::array<std::byte, 125> control_{};
  std::size_t control_size_ = 0;
};

// "1006: text" of a close frame's payload, made fit for a message.
std::string describe_close(std::span<const std::byte> payload);

}  // namespace mirrord::k8s
