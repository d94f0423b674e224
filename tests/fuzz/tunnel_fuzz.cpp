// tests/fuzz/tunnel_fuzz.cpp — whatever a server sends after it has agreed to a port-forward: the same
// bytes whole and in pieces must mean the same, and cost neither memory nor time beyond their length.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "k8s/channel_tunnel.h"
#include "k8s/spdy_tunnel.h"

using namespace mirrord::k8s;

namespace {

constexpr std::uint16_t kPort = 8080;

struct Outcome {
  std::string data;
  std::size_t replies = 0;
  bool is_broken = false;
  bool operator==(const Outcome&) const = default;
};

template <class Tunnel>
Outcome run(Tunnel tunnel, std::span<const std::byte> bytes, std::size_t step) {
  Outcome outcome;
  std::string kept;  // as the relay's buffer: what was not taken, and what has come since

  while (!bytes.empty()) {
    const auto piece = bytes.first(std::min(step, bytes.size()));
    bytes = bytes.subspan(piece.size());
    kept.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    std::span<const std::byte> input = std::as_bytes(std::span(kept));
    const std::span<const std::byte> all = input;
    for (std::size_t left = 4 * all.size() + 16;; --left) {
      const TunnelEvent event = tunnel.next(input);
      if (event.kind == TunnelEvent::Kind::kNeedMore)
        break;
      if (left == 0 || event.text.size() > 16 * 1024)
        __builtin_trap();
      if (event.kind == TunnelEvent::Kind::kBroken) {
        outcome.is_broken = true;
        return outcome;
      }
      if (!event.data.empty() && (event.data.data() < all.data() ||
                                  event.data.data() + event.data.size() > all.data() + all.size()))
        __builtin_trap();
      outcome.data.append(reinterpret_cast<const char*>(event.data.data()), event.data.size());
      outcome.replies += event.reply.size();
    }
    if (input.size() > 16)
      __builtin_trap();  // more than a header is never left
    kept = std::string(reinterpret_cast<const char*>(input.data()), input.size());
  }
  return outcome;
}

template <class Make>
void check(const Make& make, std::span<const std::byte> bytes, std::size_t step) {
  if (run(make(), bytes, bytes.size() + 1) != run(make(), bytes, step))
    __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2)
    return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(2);
  const std::size_t step = 1 + data[1] % 40;
  switch (data[0] % 3) {
    case 0:
      check([] { return ChannelTunnel(kPort); }, bytes, step);
      break;
    case 1:
      check([] { return SpdyTunnel(SpdyTunnel::Carrier::kWebSocket, kPort); }, bytes, step);
      break;
    default:
      check([] { return SpdyTunnel(SpdyTunnel::Carrier::kConnection, kPort); }, bytes, step);
      break;
  }
  return 0;
}
