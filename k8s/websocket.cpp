// k8s/websocket.cpp — WebSocket frames: headers, masks, and the keys of the handshake.
#include "k8s/websocket.h"

#include <mbedtls/base64.h>
#include <mbedtls/sha1.h>
#include <sys/random.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace mirrord::k8s {
namespace {

constexpr std::byte kFinal{0x80};
constexpr std::byte kReservedBits{0x70};
constexpr std::byte kOpcodeBits{0x0F};
constexpr std::byte kMasked{0x80};
constexpr std::uint8_t kShort = 125;  // longest length that stands in the second byte
constexpr std::uint8_t kIn16Bits = 126;
constexpr std::uint8_t kIn64Bits = 127;

void fill_random(void* memory, std::size_t size) {
  // Less than 256 bytes always come at once; it fails only before the kernel has any.
  if (::getrandom(memory, size, 0) != static_cast<ssize_t>(size)) {
    std::abort();
  }
}

std::string base64(std::span<const unsigned char> bytes) {
  std::array<unsigned char, 64> text;
  std::size_t length = 0;
  mbedtls_base64_encode(text.data(), text.size(), &length, bytes.data(), bytes.size());
  return {reinterpret_cast<const char*>(text.data()), length};
}

void apply_mask(std::byte* bytes, std::size_t size, std::uint32_t mask) {
  const std::uint64_t wide = (std::uint64_t{mask} << 32) | mask;
  std::size_t at = 0;
  for (; at + sizeof wide <= size; at += sizeof wide) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes + at, sizeof word);
    word ^= wide;
    std::memcpy(bytes + at, &word, sizeof word);
  }
  std::array<std::byte, 4> key;
  std::memcpy(key.data(), &mask, sizeof mask);
  for (; at < size; ++at) {
    bytes[at] ^= key[at % key.size()];
  }
}

bool is_control(WsOpcode opcode) {
  return opcode >= WsOpcode::kClose;
}

std::uint64_t big_endian(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (const std::byte one : bytes) {
    value = value << 8 | std::to_integer<std::uint64_t>(one);
  }
  return value;
}

WsReader::Event broken(std::string why) {
  WsReader::Event event;
  event.kind = WsReader::Event::Kind::kBroken;
  event.error = std::move(why);
  return event;
}

}  // namespace

std::string make_websocket_key() {
  std::array<unsigned char, 16> nonce;
  fill_random(nonce.data(), nonce.size());
  return base64(nonce);
}

std::string websocket_accept(std::string_view key) {
  std::string text(key);
  text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455 §1.3
  std::array<unsigned char, 20> hash;
  mbedtls_sha1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash.data());
  return base64(hash);
}

std::uint32_t WsWriter::next_mask() {
  if (masks_left_ == 0) {
    masks_left_ = masks_.size();
    const auto bytes = std::as_writable_bytes(std::span(masks_));
    fill_random(bytes.data(), bytes.size());
  }
  return masks_[--masks_left_];
}

std::span<std::byte> WsWriter::frame_in_place(std::byte* payload, std::size_t size,
                                              WsOpcode opcode) {
  const std::uint32_t mask = next_mask();
  apply_mask(payload, size, mask);
  std::byte* head = payload - sizeof mask;
  std::memcpy(head, &mask, sizeof mask);
  const auto put_length = [&](std::uint8_t mark, int bytes) {
    for (int i = 0; i < bytes; ++i) {
      *--head = static_cast<std::byte>(size >> (8 * i));
    }
    *--head = kMasked | std::byte{mark};
  };
  if (size <= kShort) {
    put_length(static_cast<std::uint8_t>(size), 0);
  } else if (size <= 0xFFFF) {
    put_length(kIn16Bits, 2);
  } else {
    put_length(kIn64Bits, 8);
  }
  *--head = kFinal | static_cast<std::byte>(opcode);
  return {head, payload + size};
}

std::vector<std::byte> WsWriter::frame(std::span<const std::byte> payload, WsOpcode opcode) {
  std::vector<std::byte> room(kHeaderRoom + payload.size());
  std::ranges::copy(payload, room.begin() + kHeaderRoom);
  const auto whole = frame_in_place(room.data() + kHeaderRoom, payload.size(), opcode);
  return {whole.begin(), whole.end()};
}

WsReader::Event WsReader::next(std::span<const std::byte>& input) {
  return in_frame_ ? take_payload(input) : take_header(input);
}

WsReader::Event WsReader::take_header(std::span<const std::byte>& input) {
  if (input.size() < 2) {
    return {};
  }
  const auto length = std::to_integer<std::uint8_t>(input[1] & ~kMasked);
  const std::size_t length_bytes = length == kIn64Bits ? 8 : length == kIn16Bits ? 2 : 0;
  if (input.size() < 2 + length_bytes) {
    return {};
  }
  const auto header = input.first(2 + length_bytes);
  left_ = length_bytes == 0 ? length : big_endian(header.subspan(2));
  Event refused = begin_frame(header);
  if (refused.kind == Event::Kind::kBroken) {
    return refused;
  }
  input = input.subspan(header.size());
  in_frame_ = true;
  return take_payload(input);
}

// Checks what the header says and what it may say at this point.
WsReader::Event WsReader::begin_frame(std::span<const std::byte> header) {
  const auto opcode = std::to_integer<std::uint8_t>(header[0] & kOpcodeBits);
  is_final_ = (header[0] & kFinal) != std::byte{};
  if ((header[0] & kReservedBits) != std::byte{} || (header[1] & kMasked) != std::byte{}) {
    return broken("a frame has flags that nobody agreed on");
  }
  if ((opcode > 2 && opcode < 8) || opcode > 10) {
    return broken("a frame has the unknown opcode " + std::to_string(opcode));
  }
  if (left_ > kMaxFrame) {
    return broken("a frame claims to be " + std::to_string(left_) + " bytes long");
  }
  frame_opcode_ = static_cast<WsOpcode>(opcode);
  if (is_control(frame_opcode_)) {
    control_size_ = 0;
    return is_final_ && left_ <= kShort ? Event{} : broken("a control frame is too long");
  }
  if (in_message_ != (frame_opcode_ == WsOpcode::kContinuation)) {
    return broken(in_message_ ? "a message begins inside another"
                              : "a message begins with its continuation");
  }
  begins_message_ = !in_message_;
  if (begins_message_) {
    message_opcode_ = frame_opcode_;
  }
  in_message_ = !is_final_;
  return {};
}

WsReader::Event WsReader::take_payload(std::span<const std::byte>& input) {
  Event event;
  const auto piece =
      input.first(static_cast<std::size_t>(std::min<std::uint64_t>(left_, input.size())));
  if (piece.empty() && left_ > 0) {
    return event;
  }
  input = input.subspan(piece.size());
  left_ -= piece.size();
  in_frame_ = left_ > 0;
  if (is_control(frame_opcode_)) {
    std::ranges::copy(piece, control_.begin() + static_cast<std::ptrdiff_t>(control_size_));
    control_size_ += piece.size();
    if (in_frame_) {
      return event;
    }
    event.kind = Event::Kind::kControl;
    event.opcode = frame_opcode_;
    event.payload = std::span(control_).first(control_size_);
    return event;
  }
  event.kind = Event::Kind::kPayload;
  event.opcode = message_opcode_;
  event.begins_message = std::exchange(begins_message_, false);
  event.ends_message = is_final_ && !in_frame_;
  event.payload = piece;
  return event;
}

std::string describe_close(std::span<const std::byte> payload) {
  if (payload.size() < 2) {
    return "no reason given";
  }
  std::string text = std::to_string(big_endian(payload.first(2)));
  if (payload.size() > 2) {
    text += ": ";
  }
  for (const std::byte one : payload.subspan(2)) {
    const char letter = static_cast<char>(one);
    text += static_cast<unsigned char>(letter) < 0x20 || letter == 0x7F ? ' ' : letter;
  }
  return text;
}

}  // namespace mirrord::k8s
