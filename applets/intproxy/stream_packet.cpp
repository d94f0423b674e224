// applets/intproxy/stream_packet.cpp — one byte for the kind, then texts that end with NUL.
#include "applets/intproxy/stream_packet.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <span>

#include "net/descriptor_packet.h"

namespace mirrord::intproxy {
namespace {

constexpr std::size_t kLongest = 16 << 10;

}  // namespace

Status send_stream_packet(int socket, StreamPacketKind kind, const std::vector<std::string>& texts,
                          int descriptor) {
  std::string packet(1, static_cast<char>(kind));
  for (const std::string& text : texts) {
    std::string one = text.substr(0, kLongest / 4);
    std::ranges::replace(one, '\0', ' ');
    packet += one + '\0';
  }
  const iovec part{packet.data(), packet.size()};
  return net::send_descriptor_packet(socket, std::span(&part, 1), descriptor);
}

Result<StreamPacket> receive_stream_packet(int socket) {
  std::array<char, kLongest> buffer;
  MIRRORD_TRY(received,
              net::receive_descriptor_packet(socket, std::as_writable_bytes(std::span(buffer))));
  if (received.size == 0) {
    return fail(ErrorCode::kDisconnected, "the mirrord command that holds the agent has ended");
  }
  StreamPacket packet;
  packet.kind = static_cast<StreamPacketKind>(buffer[0]);
  packet.descriptor = std::move(received.descriptor);
  std::string_view rest(buffer.data() + 1, received.size - 1);
  for (std::size_t end = rest.find('\0'); end != std::string_view::npos; end = rest.find('\0')) {
    packet.texts.emplace_back(rest.substr(0, end));
    rest.remove_prefix(end + 1);
  }
  return packet;
}

std::vector<std::string> texts_of(const Error& error) {
  return {std::to_string(static_cast<int>(error.code)), std::to_string(error.sys), error.what,
          error.hint};
}

Error error_of(const std::vector<std::string>& texts) {
  if (texts.size() < 4) {
    return {ErrorCode::kPeer, "get a stream to the agent: the answer is damaged", {}, 0};
  }
  const long code = number_of(texts[0]);
  const bool is_known = code >= 0 && code <= static_cast<long>(ErrorCode::kInternal);
  return {is_known ? static_cast<ErrorCode>(code) : ErrorCode::kPeer, texts[2], texts[3],
          static_cast<int>(number_of(texts[1]))};
}

long number_of(std::string_view text) {
  long number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : 0;
}

}  // namespace mirrord::intproxy
