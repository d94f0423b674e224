// tests/unit/k8s/frames.h — WebSocket frames as a server writes and reads them, written anew for the
// tests so that a mistake is not made on both sides.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace mirrord::k8s {

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline std::string server_frame(int opcode, std::string_view payload, bool is_final = true) {
  std::string frame(1, static_cast<char>(opcode | (is_final ? 0x80 : 0)));
  const auto put = [&frame](std::uint64_t value, int size) {
    for (int i = size - 1; i >= 0; --i) {
      frame += static_cast<char>(value >> (8 * i));
    }
  };
  if (payload.size() < 126) {
    put(payload.size(), 1);
  } else if (payload.size() < 65536) {
    put(126, 1);
    put(payload.size(), 2);
  } else {
    put(127, 1);
    put(payload.size(), 8);
  }
  return frame.append(payload);
}

// How long the client's frame at the begin of `text` is; nothing while its header is not complete.
struct ClientFrameSize {
  std::size_t header = 0, payload = 0;
};
inline std::optional<ClientFrameSize> client_frame_size(std::string_view text) {
  if (text.size() < 2) {
    return std::nullopt;
  }
  const auto byte = [&](std::size_t at) { return static_cast<std::uint8_t>(text[at]); };
  std::size_t size = byte(1) & 0x7F;
  const std::size_t length_bytes = size == 126 ? 2 : size == 127 ? 8 : 0;
  if (text.size() < 2 + length_bytes) {
    return std::nullopt;
  }
  if (length_bytes > 0) {
    size = 0;
    for (std::size_t i = 0; i < length_bytes; ++i) {
      size = size << 8 | byte(2 + i);
    }
  }
  return ClientFrameSize{2 + length_bytes + 4, size};
}

// Opcode and payload of exactly one final, masked frame.
inline std::optional<std::pair<int, std::string>> read_client_frame(
    std::span<const std::byte> bytes) {
  const std::string text = text_of(bytes);
  const auto size = client_frame_size(text);
  if (!size || text.size() != size->header + size->payload ||
      (static_cast<std::uint8_t>(text[1]) & 0x80) == 0 ||
      (static_cast<std::uint8_t>(text[0]) & 0xF0) != 0x80) {
    return std::nullopt;
  }
  std::string payload = text.substr(size->header);
  for (std::size_t i = 0; i < payload.size(); ++i) {
    payload[i] = static_cast<char>(payload[i] ^ text[size->header - 4 + i % 4]);
  }
  return std::pair(text[0] & 0x0F, std::move(payload));
}

}  // namespace mirrord::k8s
