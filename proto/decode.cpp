// proto/decode.cpp — decoding of whole messages, from memory and from streams.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "proto/codec.h"
#include "proto/decoder.h"
#include "proto/stream_decoder.h"

namespace mirrord::proto {

namespace {

template <class Message>
std::expected<std::size_t, DecodeError> decode_one(std::span<const std::byte> input, Message& out) {
  detail::Decoder decoder;
  decoder.set_input(input, 0);
  Message message;
  if (!decoder.read(message)) {
    if (decoder.error())
      return std::unexpected(*decoder.error());
    return std::unexpected(DecodeError{"the message is incomplete", input.size(), true});
  }
  out = std::move(message);
  return decoder.consumed();
}

}  // namespace

std::expected<std::size_t, DecodeError> decode(std::span<const std::byte> input,
                                               ClientMessage& out) {
  return decode_one(input, out);
}

std::expected<std::size_t, DecodeError> decode(std::span<const std::byte> input,
                                               DaemonMessage& out) {
  return decode_one(input, out);
}

template <class Message>
struct StreamDecoder<Message>::State {
  detail::Decoder decoder;
  Message message;  // the one in progress
  Bytes buffer;     // bytes read but not decoded are [start, buffer.size())
  std::size_t start = 0;
  bool has_news = false;        // something was committed since the last read stopped
  std::size_t direct_size = 0;  // how much payload memory was given out
  std::size_t payload_read_limit = SIZE_MAX;
  u64 received = 0;
  u64 decoded = 0;  // stream offset of `start`
  u64 consumed = 0;
  u64 examined = 0;

  std::size_t buffered() const { return buffer.size() - start; }
  // Memory of the payload that is incomplete, if there is one that lacks `least` bytes or more.
  std::span<std::byte> payload_space(std::size_t least);
};

template <class Message>
StreamDecoder<Message>::StreamDecoder(std::size_t buffer_size) : state_(std::make_unique<State>()) {
  state_->buffer.reserve(std::max<std::size_t>(buffer_size, 64));
}
template <class Message>
StreamDecoder<Message>::~StreamDecoder() = default;
template <class Message>
StreamDecoder<Message>::StreamDecoder(StreamDecoder&&) noexcept = default;
template <class Message>
StreamDecoder<Message>& StreamDecoder<Message>::operator=(StreamDecoder&&) noexcept = default;

template <class Message>
std::span<std::byte> StreamDecoder<Message>::State::payload_space(std::size_t least) {
  Bytes* payload = decoder.unfinished_payload();
  const std::size_t missing = decoder.missing();
  direct_size = 0;
  if (payload == nullptr || buffered() > 0 || missing < least)
    return {};
  if (payload->spare().empty())
    payload->reserve(payload->size() + std::min(missing, std::max(payload->size(), kGrowthStep)));
  direct_size = std::min({payload->spare().size(), missing, payload_read_limit});
  return payload->spare().first(direct_size);
}

template <class Message>
auto StreamDecoder<Message>::writable_parts() -> Parts {
  State& s = *state_;
  const auto payload = s.payload_space(1);
  if (payload.empty())
    return {writable(), {}};
  s.start = 0;
  s.buffer.clear();
  if (payload.size() < s.decoder.missing())
    return {payload, {}};
  const auto spare = s.buffer.spare();
  return {payload, spare.first(std::min(spare.size(), kBehindPayload))};
}

template <class Message>
std::span<std::byte> StreamDecoder<Message>::writable() {
  State& s = *state_;
  if (const auto payload = s.payload_space(kMinDirect); !payload.empty())
    return payload;
  if (s.start > 0) {
    std::memmove(s.buffer.data(), s.buffer.data() + s.start, s.buffered());
    s.buffer.truncate(s.buffered());
    s.start = 0;
  }
  // Full only if the caller reads again and again without taking messages out.
  if (s.buffer.spare().empty())
    s.buffer.reserve(2 * s.buffer.capacity());
  return s.buffer.spare();
}

template <class Message>
void StreamDecoder<Message>::commit(std::size_t count) {
  State& s = *state_;
  s.received += count;
  s.has_news = s.has_news || count > 0;
  const std::size_t direct = std::min(count, s.direct_size);
  if (direct > 0) {
    s.decoder.unfinished_payload()->commit(direct);
    s.decoder.payload_received(direct);
    s.decoded += direct;
    s.examined += direct;
    s.direct_size -= direct;
  }
  s.buffer.commit(count - direct);
}

template <class Message>
void StreamDecoder<Message>::feed(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto space = writable();
    const std::size_t count = std::min(space.size(), bytes.size());
    std::memcpy(space.data(), bytes.data(), count);
    commit(count);
    bytes = bytes.subspan(count);
  }
}

template <class Message>
std::expected<std::optional<Message>, DecodeError> StreamDecoder<Message>::next() {
  State& s = *state_;
  if (s.decoder.error())
    return std::unexpected(*s.decoder.error());
  if (!s.has_news)
    return std::nullopt;
  s.direct_size = 0;
  s.decoder.set_input(s.buffer.span().subspan(s.start), s.decoded);
  const bool is_complete = s.decoder.read(s.message);
  const std::size_t taken = s.decoder.consumed();
  s.start += taken;
  s.decoded += taken;
  s.examined += taken;
  if (!is_complete) {
    s.examined += s.buffered();
    s.has_news = false;
    if (s.decoder.error())
      return std::unexpected(*s.decoder.error());
    return std::nullopt;
  }
  s.consumed = s.decoded;
  s.has_news = s.buffered() > 0;
  s.decoder.start_message();
  return std::exchange(s.message, Message{});
}

template <class Message>
auto StreamDecoder<Message>::unfinished() const -> Unfinished {
  return {&state_->message, state_->decoder.unfinished_payload()};
}

template <class Message>
void StreamDecoder<Message>::limit_payload_reads(std::size_t limit) {
  state_->payload_read_limit = limit;
}

template <class Message>
std::expected<void, DecodeError> StreamDecoder<Message>::finish() const {
  const State& s = *state_;
  if (s.decoder.error())
    return std::unexpected(*s.decoder.error());
  if (s.received > s.consumed)
    return std::unexpected(DecodeError{"bytes remaining on stream", s.consumed, true});
  return {};
}

template <class Message>
u64 StreamDecoder<Message>::received() const {
  return state_->received;
}
template <class Message>
u64 StreamDecoder<Message>::consumed() const {
  return state_->consumed;
}
template <class Message>
u64 StreamDecoder<Message>::examined() const {
  return state_->examined;
}

template class StreamDecoder<ClientMessage>;
template class StreamDecoder<DaemonMessage>;

}  // namespace mirrord::proto
