// k8s/channel_tunnel.h — the port-forward protocols v4.channel.k8s.io and v5.channel.k8s.io: binary
// WebSocket messages whose first byte names a channel, here 0 for data and 1 for errors.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "k8s/tunnel.h"
#include "k8s/websocket.h"

namespace mirrord::k8s {

class ChannelTunnel {
 public:
  static constexpr std::string_view kProtocols = "v5.channel.k8s.io, v4.channel.k8s.io";
  static constexpr std::size_t kRoom = WsWriter::kHeaderRoom + 1;
  static constexpr bool kFinishEndsAll = true;

  explicit ChannelTunnel(std::uint16_t port) : port_(port) {}

  static std::vector<std::byte> opening() { return {}; }
  TunnelEvent next(std::span<const std::byte>& input);
  std::span<std::byte> wrap(std::byte* data, std::size_t size);
  std::vector<std::byte> ping();
  // The protocol cannot end one direction: what the pod still sends may come, or not.
  std::vector<std::byte> finish();

 private:
  // What each channel begins with: the port, little-endian.
  struct Greeting {
    std::array<std::byte, 2> bytes{};
    std::size_t size = 0;  // counts on when there are more
    bool is_over = false;
  };
  TunnelEvent take_control(const WsReader::Event& frame);
  TunnelEvent take_piece(const WsReader::Event& piece);
  TunnelEvent take_greeting(std::span<const std::byte> bytes, bool is_whole);

  std::uint16_t port_;
  WsReader reader_;
  WsWriter writer_;
  std::size_t channel_ = 0;  // of the message under way
  bool has_channel_ = false;
  std::array<Greeting, 2> greetings_;
  std::string error_text_;
};

}  // namespace mirrord::k8s
