// tests/fuzz/stream_fuzz.cpp — any bytes as a stream of messages, in pieces whose sizes the input says.
#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "tests/fuzz/message_fuzz.h"

namespace {

using namespace mirrord::proto;

struct Outcome {
  std::vector<std::string> messages;
  std::optional<u64> failed_at;
  u64 consumed = 0;
  bool operator==(const Outcome&) const = default;
};

// Takes a byte from `sizes` for each piece; without sizes all is one piece.
Outcome run(std::span<const std::byte> input, std::span<const std::byte> sizes) {
  StreamDecoder<DaemonMessage> decoder(sizes.empty() ? 65536 : 64);
  Outcome out;
  u64 calls = 0;
  std::size_t piece = 0;
  while (!input.empty() && !out.failed_at) {
    const auto space = decoder.writable();
    std::size_t count = std::min(space.size(), input.size());
    if (!sizes.empty())
      count = std::min(count, std::to_integer<std::size_t>(sizes[piece++ % sizes.size()]) + 1);
    std::memcpy(space.data(), input.data(), count);
    decoder.commit(count);
    input = input.subspan(count);
    while (true) {
      auto message = decoder.next();
      ++calls;
      if (!message)
        out.failed_at = message.error().offset;
      if (!message || !*message)
        break;
      out.messages.push_back(to_json(**message));
    }
  }
  check(decoder.examined() <= decoder.received() + 24 * calls);
  out.consumed = decoder.consumed();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto input = std::as_bytes(std::span(data, size));
  if (size < 8)
    return 0;
  const auto bytes = input.subspan(8);
  check(run(bytes, {}) == run(bytes, input.first(8)));
  return 0;
}
