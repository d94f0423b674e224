// net/address.h — IP addresses and endpoints as values, and their way to and from sockaddr.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mirrord::net {

struct IpAddress {
  bool is_v6 = false;
  std::array<std::uint8_t, 16> bytes{};  // network order; IPv4 uses the first four

  static IpAddress v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
    return {false, {a, b, c, d}};
  }
  static IpAddress v6_loopback() {
    return {true, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
  }
  // Textual IPv4 or IPv6, the latter with an optional "%scope" that is dropped.
  static std::optional<IpAddress> parse(std::string_view text);

  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] int family() const { return is_v6 ? AF_INET6 : AF_INET; }
  auto operator<=>(const IpAddress&) const = default;
};

struct Endpoint {
  IpAddress ip;
  std::uint16_t port = 0;  // host order

  // Fills `storage` and returns its used length.
  socklen_t to_sockaddr(sockaddr_storage& storage) const;
  // Nothing for families other than AF_INET and AF_INET6.
  static std::optional<Endpoint> from_sockaddr(const sockaddr_storage& storage);
  // "1.2.3.4:80", "[::1]:80", "localhost:80".
  static std::optional<Endpoint> parse(std::string_view text);
  [[nodiscard]] std::string to_string() const;  // as parse reads it
  auto operator<=>(const Endpoint&) const = default;
};

}  // namespace mirrord::net
