// k8s/spdy_tunnel.cpp — SPDY frames to events and back.
#include "k8s/spdy_tunnel.h"

#include <algorithm>

namespace mirrord::k8s {
namespace {

using Kind = TunnelEvent::Kind;
using Bytes = std::vector<std::byte>;

// Clients' streams have odd numbers.
constexpr std::uint32_t kErrorStream = 1;
constexpr std::uint32_t kDataStream = 3;

constexpr std::uint16_t kVersion = 3;
constexpr std::uint16_t kSynStream = 1;
constexpr std::uint16_t kSynReply = 2;
constexpr std::uint16_t kRstStream = 3;
constexpr std::uint16_t kPing = 6;
constexpr std::uint8_t kFin = 1;
constexpr std::uint32_t kStreamBits = 0x7FFFFFFF;
constexpr std::uint32_t kMaxControlFrame = 256 * 1024;
constexpr std::size_t kMaxErrorText = 8192;

TunnelEvent event_of(Kind kind, std::string text = {}) {
  TunnelEvent event;
  event.kind = kind;
  event.text = std::move(text);
  return event;
}

void put(Bytes& out, std::uint64_t value, int size) {
  for (int i = size - 1; i >= 0; --i) {
    out.push_back(static_cast<std::byte>(value >> (8 * i)));
  }
}

void put(Bytes& out, std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

std::uint32_t number(std::span<const std::byte> bytes) {
  std::uint32_t value = 0;
  for (const std::byte one : bytes) {
    value = value << 8 | std::to_integer<std::uint32_t>(one);
  }
  return value;
}

Bytes control_frame(std::uint16_t type, std::uint8_t flags, const Bytes& body) {
  Bytes frame;
  put(frame, 0x8000U | kVersion, 2);
  put(frame, type, 2);
  put(frame, flags, 1);
  put(frame, body.size(), 3);
  frame.insert(frame.end(), body.begin(), body.end());
  return frame;
}

void put_data_head(std::byte* at, std::uint32_t stream, std::uint8_t flags, std::size_t size) {
  const std::uint64_t head =
      std::uint64_t{stream} << 32 | std::uint64_t{flags} << 24 | std::uint64_t{size};
  for (int i = 0; i < 8; ++i) {
    at[i] = static_cast<std::byte>(head >> (56 - 8 * i));
  }
}

Bytes end_of(std::uint32_t stream) {
  Bytes frame(SpdyTunnel::kHeadSize);
  put_data_head(frame.data(), stream, kFin, 0);
  return frame;
}

// A block of headers as zlib data. It says that it knows SPDY's dictionary (whose Adler-32 is part
// of the first head, RFC 1950 §2.2) and then compresses nothing: blocks of stored bytes (RFC 1951
// §3.2.4), the last one empty, as after a flush.
Bytes header_block(std::string_view stream_type, std::uint16_t port, bool is_first) {
  constexpr std::uint64_t kZlibHeadWithDictionary = 0x78BB'E3C6A7C2;
  const std::pair<std::string_view, std::string> headers[] = {
      {"streamtype", std::string(stream_type)}, {"port", std::to_string(port)}, {"requestid", "0"}};
  Bytes plain;
  put(plain, std::size(headers), 4);
  for (const auto& [name, value] : headers) {
    put(plain, name.size(), 4);
    put(plain, name);
    put(plain, value.size(), 4);
    put(plain, value);
  }
  Bytes block;
  if (is_first) {
    put(block, kZlibHeadWithDictionary, 6);
  }
  const auto put_stored = [&block](const Bytes& stored) {
    const auto size = static_cast<std::uint16_t>(stored.size());
    const auto inverse = static_cast<std::uint16_t>(~size);
    put(block, 0, 1);
    for (const std::uint16_t little : {size, inverse}) {
      put(block, little & 0xFFU, 1);
      put(block, little >> 8U, 1);
    }
    block.insert(block.end(), stored.begin(), stored.end());
  };
  put_stored(plain);
  put_stored({});
  return block;
}

Bytes syn_stream(std::uint32_t stream, std::string_view type, std::uint16_t port, bool is_first) {
  Bytes body;
  put(body, stream, 4);
  put(body, 0, 4);  // associated with none
  put(body, 0, 2);  // priority and credential slot
  const Bytes headers = header_block(type, port, is_first);
  body.insert(body.end(), headers.begin(), headers.end());
  return control_frame(kSynStream, 0, body);
}

std::size_t index_of(std::uint32_t stream) {
  return stream == kErrorStream ? 0 : 1;
}

}  // namespace

Bytes SpdyTunnel::packed(Bytes frames) {
  return carrier_ == Carrier::kWebSocket ? writer_.frame(frames, WsOpcode::kBinary)
                                         : std::move(frames);
}

Bytes SpdyTunnel::opening() {
  Bytes frames;
  // Nothing is ever said on the error stream from our side.
  for (const Bytes& frame : {syn_stream(kErrorStream, "error", port_, true), end_of(kErrorStream),
                             syn_stream(kDataStream, "data", port_, false)}) {
    frames.insert(frames.end(), frame.begin(), frame.end());
  }
  return packed(std::move(frames));
}

std::span<std::byte> SpdyTunnel::wrap(std::byte* data, std::size_t size) {
  std::byte* head = data - kHeadSize;
  put_data_head(head, kDataStream, 0, size);
  const std::size_t whole = kHeadSize + size;
  return carrier_ == Carrier::kWebSocket ? writer_.frame_in_place(head, whole, WsOpcode::kBinary)
                                         : std::span(head, whole);
}

Bytes SpdyTunnel::ping() {
  if (carrier_ == Carrier::kWebSocket) {
    return writer_.frame({}, WsOpcode::kPing);
  }
  Bytes body;
  put(body, std::exchange(next_ping_, next_ping_ + 2), 4);
  return control_frame(kPing, 0, body);
}

Bytes SpdyTunnel::finish() {
  return packed(end_of(kDataStream));
}

// ---- what comes in

TunnelEvent SpdyTunnel::next(std::span<const std::byte>& input) {
  if (pending_) {
    TunnelEvent event = std::move(*pending_);
    pending_.reset();
    return event;
  }
  return carrier_ == Carrier::kWebSocket ? next_of_websocket(input) : next_of_spdy(input);
}

TunnelEvent SpdyTunnel::next_of_websocket(std::span<const std::byte>& input) {
  while (true) {
    if (!message_.empty()) {
      TunnelEvent event = next_of_spdy(message_);
      if (event.kind != Kind::kNeedMore) {
        return event;
      }
    }
    const WsReader::Event frame = reader_.next(input);
    switch (frame.kind) {
      case WsReader::Event::Kind::kNeedMore:
        return {};
      case WsReader::Event::Kind::kBroken:
        return event_of(Kind::kBroken, frame.error);
      case WsReader::Event::Kind::kPayload:
        message_ = frame.opcode == WsOpcode::kBinary ? frame.payload : std::span<const std::byte>();
        continue;
      case WsReader::Event::Kind::kControl:
        break;
    }
    if (frame.opcode == WsOpcode::kClose) {
      return event_of(Kind::kClosed, "the API server closed the connection (" +
                                         describe_close(frame.payload) + ")");
    }
    TunnelEvent event = event_of(Kind::kNothing);
    if (frame.opcode == WsOpcode::kPing) {
      event.kind = Kind::kReply;
      event.reply = writer_.frame(frame.payload, WsOpcode::kPong);
    }
    return event;
  }
}

// Always takes all of the input before it says that it needs more.
TunnelEvent SpdyTunnel::next_of_spdy(std::span<const std::byte>& input) {
  if (head_size_ < kHeadSize) {
    const auto piece = input.first(std::min(kHeadSize - head_size_, input.size()));
    std::ranges::copy(piece, head_.begin() + static_cast<std::ptrdiff_t>(head_size_));
    head_size_ += piece.size();
    input = input.subspan(piece.size());
    return head_size_ < kHeadSize ? TunnelEvent{} : take_head();
  }
  return input.empty() ? TunnelEvent{} : take_body(input);
}

TunnelEvent SpdyTunnel::take_head() {
  const std::span head(head_);
  is_control_ = (head_[0] & std::byte{0x80}) != std::byte{};
  left_ = number(head.subspan(5, 3));
  words_size_ = 0;
  if (is_control_) {
    const std::uint32_t version = number(head.first(2)) & 0x7FFFU;
    if (version != kVersion || left_ > kMaxControlFrame) {
      return event_of(Kind::kBroken, "a control frame of SPDY version " + std::to_string(version) +
                                         " and " + std::to_string(left_) + " bytes");
    }
  }
  std::span<const std::byte> nothing;
  return left_ > 0 ? event_of(Kind::kNothing) : take_body(nothing);
}

TunnelEvent SpdyTunnel::take_body(std::span<const std::byte>& input) {
  const auto piece = input.first(std::min<std::size_t>(left_, input.size()));
  input = input.subspan(piece.size());
  left_ -= static_cast<std::uint32_t>(piece.size());
  if (left_ == 0) {
    head_size_ = 0;
  }
  if (!is_control_) {
    return take_data(piece);
  }
  const auto kept = piece.first(std::min(piece.size(), words_.size() - words_size_));
  std::ranges::copy(kept, words_.begin() + static_cast<std::ptrdiff_t>(words_size_));
  words_size_ += kept.size();
  return left_ == 0 ? end_control() : event_of(Kind::kNothing);
}

TunnelEvent SpdyTunnel::take_data(std::span<const std::byte> piece) {
  const std::uint32_t stream = number(std::span(head_).first(4)) & kStreamBits;
  const bool is_last = left_ == 0 && (head_[4] & std::byte{kFin}) != std::byte{};
  if (stream == kDataStream && !piece.empty()) {
    TunnelEvent event = event_of(Kind::kData);
    event.data = piece;
    if (is_last) {
      pending_ = end_stream(stream);
    }
    return event;
  }
  if (stream == kErrorStream) {
    const auto kept = piece.first(std::min(piece.size(), kMaxErrorText - error_text_.size()));
    error_text_.append(reinterpret_cast<const char*>(kept.data()), kept.size());
    if (left_ == 0 && !error_text_.empty()) {
      if (is_last) {
        pending_ = end_stream(stream);
      }
      return event_of(Kind::kPodError, error_text_);
    }
  }
  return is_last ? end_stream(stream) : event_of(Kind::kNothing);
}

TunnelEvent SpdyTunnel::end_control() {
  const std::uint32_t type = number(std::span(head_).subspan(2, 2));
  const std::uint32_t word = number(std::span(words_).first(4));
  const std::uint32_t stream = word & kStreamBits;
  const bool is_ours = stream == kErrorStream || stream == kDataStream;
  const bool has_fin = (head_[4] & std::byte{kFin}) != std::byte{};
  if (words_size_ < 4) {
    return type == kSynReply || type == kRstStream || type == kPing
               ? event_of(Kind::kBroken, "a control frame is too short")
               : event_of(Kind::kNothing);
  }
  if (type == kSynReply && is_ours) {
    if (has_fin) {
      pending_ = end_stream(stream);
    }
    return opened_by_reply(stream);
  }
  if (type == kRstStream && is_ours) {
    return event_of(Kind::kClosed, "the API server reset the stream, status " +
                                       std::to_string(number(std::span(words_).subspan(4, 4))));
  }
  if (type == kPing && word % 2 == 0) {  // the server's; ours come back odd
    Bytes body;
    put(body, word, 4);
    TunnelEvent event = event_of(Kind::kReply);
    event.reply = packed(control_frame(kPing, 0, body));
    return event;
  }
  return event_of(Kind::kNothing);
}

TunnelEvent SpdyTunnel::opened_by_reply(std::uint32_t stream) {
  const bool was_open = has_reply_[0] && has_reply_[1];
  has_reply_[index_of(stream)] = true;
  return event_of(!was_open && has_reply_[0] && has_reply_[1] ? Kind::kOpened : Kind::kNothing);
}

// When both have ended the server has done with the port.
TunnelEvent SpdyTunnel::end_stream(std::uint32_t stream) {
  if (stream != kErrorStream && stream != kDataStream) {
    return event_of(Kind::kNothing);
  }
  has_ended_[index_of(stream)] = true;
  if (has_ended_[0] && has_ended_[1]) {
    return event_of(Kind::kClosed, "the pod closed the connection");
  }
  return event_of(stream == kDataStream ? Kind::kDataEnded : Kind::kNothing);
}

}  // namespace mirrord::k8s
