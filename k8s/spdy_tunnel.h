// k8s/spdy_tunnel.h — the port-forward protocol portforward.k8s.io: two SPDY/3.1 streams, one for the
// data of a port and one for its errors, on the bare connection or inside WebSocket messages.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "k8s/tunnel.h"
#include "k8s/websocket.h"

namespace mirrord::k8s {

// As much of SPDY/3.1 as this takes (draft-mbelshe-httpbis-spdy-00 and what Kubernetes' servers make of
// it): the server's headers are not read, nobody limits anybody by windows.
class SpdyTunnel {
 public:
  enum class Carrier { kConnection, kWebSocket };
  static constexpr std::string_view kProtocol = "portforward.k8s.io";
  static constexpr std::string_view kUpgrade = "SPDY/3.1";
  static constexpr std::string_view kWebSocketProtocol = "SPDY/3.1+portforward.k8s.io";
  static constexpr std::size_t kHeadSize = 8;
  static constexpr std::size_t kRoom = WsWriter::kHeaderRoom + kHeadSize;
  static constexpr bool kFinishEndsAll = false;

  SpdyTunnel(Carrier carrier, std::uint16_t port) : carrier_(carrier), port_(port) {}

  std::vector<std::byte> opening();
  TunnelEvent next(std::span<const std::byte>& input);
  std::span<std::byte> wrap(std::byte* data, std::size_t size);
  std::vector<std::byte> ping();
  std::vector<std::byte> finish();

 private:
  TunnelEvent next_of_websocket(std::span<const std::byte>& input);
  TunnelEvent next_of_spdy(std::span<const std::byte>& input);
  TunnelEvent take_head();
  TunnelEvent take_body(std::span<const std::byte>& input);
  TunnelEvent take_data(std::span<const std::byte> piece);
  TunnelEvent end_control();
  TunnelEvent end_stream(std::uint32_t stream);
  TunnelEvent opened_by_reply(std::uint32_t stream);
  std::vector<std::byte> packed(std::vector<std::byte> frames);

  Carrier carrier_;
  std::uint16_t port_;
  WsReader reader_;
  WsWriter writer_;
  std::span<const std::byte> message_;  // of a WebSocket message, what is not taken yet

  // The frame under way: its head, what is left of it, and for control frames their first words.
  std::array<std::byte, kHeadSize> head_{};
  std::size_t head_size_ = 0;
  bool is_control_ = false;
  std::uint32_t left_ = 0;
  std::array<std::byte, 8> words_{};
  std::size_t words_size_ = 0;

  bool has_reply_[2] = {};  // of the error stream, of the data stream
  bool has_ended_[2] = {};
  std::optional<TunnelEvent>
      pending_;  // what follows from the end of a frame whose data went first
  std::string error_text_;
  std::uint32_t next_ping_ = 1;  // odd: the client's
};

}  // namespace mirrord::k8s
