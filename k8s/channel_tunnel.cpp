// k8s/channel_tunnel.cpp — channel messages to events and back.
#include "k8s/channel_tunnel.h"

#include <algorithm>
#include <utility>

namespace mirrord::k8s {
namespace {

using Kind = TunnelEvent::Kind;

constexpr std::size_t kData = 0;
constexpr std::size_t kErrors = 1;
constexpr std::size_t kMaxErrorText = 8192;

TunnelEvent event_of(Kind kind, std::string text = {}) {
  TunnelEvent event;
  event.kind = kind;
  event.text = std::move(text);
  return event;
}

}  // namespace

TunnelEvent ChannelTunnel::next(std::span<const std::byte>& input) {
  const WsReader::Event frame = reader_.next(input);
  switch (frame.kind) {
    case WsReader::Event::Kind::kNeedMore:
      return {};
    case WsReader::Event::Kind::kBroken:
      return event_of(Kind::kBroken, frame.error);
    case WsReader::Event::Kind::kControl:
      return take_control(frame);
    case WsReader::Event::Kind::kPayload:
      return take_piece(frame);
  }
  return {};
}

TunnelEvent ChannelTunnel::take_control(const WsReader::Event& frame) {
  if (frame.opcode == WsOpcode::kClose) {
    return event_of(Kind::kClosed,
                    "the API server closed the connection (" + describe_close(frame.payload) + ")");
  }
  TunnelEvent event = event_of(Kind::kNothing);
  if (frame.opcode == WsOpcode::kPing) {
    event.kind = Kind::kReply;
    event.reply = writer_.frame(frame.payload, WsOpcode::kPong);
  }
  return event;
}

TunnelEvent ChannelTunnel::take_piece(const WsReader::Event& piece) {
  if (piece.opcode != WsOpcode::kBinary) {
    return event_of(Kind::kNothing);  // the protocol knows no text
  }
  std::span<const std::byte> bytes = piece.payload;
  if (piece.begins_message) {
    has_channel_ = false;
  }
  if (!has_channel_) {
    if (bytes.empty()) {
      return event_of(Kind::kNothing);
    }
    has_channel_ = true;
    channel_ = std::to_integer<std::size_t>(bytes.front());
    bytes = bytes.subspan(1);
  }
  if (channel_ >= greetings_.size()) {
    return event_of(Kind::kBroken, "a message for channel " + std::to_string(channel_) +
                                       ", which was not asked for");
  }
  if (!greetings_[channel_].is_over) {
    return take_greeting(bytes, piece.ends_message);
  }
  if (channel_ == kErrors) {
    const std::size_t room = kMaxErrorText - error_text_.size();
    const auto kept = bytes.first(std::min(bytes.size(), room));
    error_text_.append(reinterpret_cast<const char*>(kept.data()), kept.size());
    const bool is_said = piece.ends_message && !error_text_.empty();
    return is_said ? event_of(Kind::kPodError, std::exchange(error_text_, {}))
                   : event_of(Kind::kNothing);
  }
  TunnelEvent event = event_of(bytes.empty() ? Kind::kNothing : Kind::kData);
  event.data = bytes;
  return event;
}

TunnelEvent ChannelTunnel::take_greeting(std::span<const std::byte> bytes, bool is_whole) {
  Greeting& greeting = greetings_[channel_];
  for (const std::byte one : bytes) {
    if (greeting.size < greeting.bytes.size()) {
      greeting.bytes[greeting.size] = one;
    }
    ++greeting.size;
  }
  if (!is_whole) {
    return event_of(Kind::kNothing);
  }
  const auto named = std::to_integer<unsigned>(greeting.bytes[0]) |
                     std::to_integer<unsigned>(greeting.bytes[1]) << 8;
  if (greeting.size != greeting.bytes.size()) {
    return event_of(Kind::kBroken, "channel " + std::to_string(channel_) +
                                       " does not begin with the number of its port");
  }
  if (named != port_) {
    return event_of(Kind::kBroken, "channel " + std::to_string(channel_) + " is for port " +
                                       std::to_string(named) + " instead of " +
                                       std::to_string(port_));
  }
  greeting.is_over = true;
  return event_of(greetings_[kData].is_over && greetings_[kErrors].is_over ? Kind::kOpened
                                                                           : Kind::kNothing);
}

std::span<std::byte> ChannelTunnel::wrap(std::byte* data, std::size_t size) {
  *--data = static_cast<std::byte>(kData);
  return writer_.frame_in_place(data, size + 1, WsOpcode::kBinary);
}

std::vector<std::byte> ChannelTunnel::ping() {
  return writer_.frame({}, WsOpcode::kPing);
}

std::vector<std::byte> ChannelTunnel::finish() {
  constexpr std::array kNormalClosure{std::byte{1000 >> 8}, std::byte{1000 & 0xFF}};
  return writer_.frame(kNormalClosure, WsOpcode::kClose);
}

}  // namespace mirrord::k8s
