// net/address.cpp — text and sockaddr forms of IP addresses.
#include "net/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace mirrord::net {

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  const std::size_t scope = text.find('%');
  const std::string bare(text.substr(0, scope));
  if (bare.size() != std::min(scope, text.size()) || bare.find('\0') != std::string::npos) {
    return std::nullopt;
  }
  IpAddress address;
  if (scope == std::string_view::npos &&
      ::inet_pton(AF_INET, bare.c_str(), address.bytes.data()) == 1) {
    return address;
  }
  address.is_v6 = true;
  if (::inet_pton(AF_INET6, bare.c_str(), address.bytes.data()) == 1) {
    return address;
  }
  return std::nullopt;
}

std::string IpAddress::to_string() const {
  char text[INET6_ADDRSTRLEN] = {};
  ::inet_ntop(family(), bytes.data(), text, sizeof text);
  return text;
}

socklen_t Endpoint::to_sockaddr(sockaddr_storage& storage) const {
  std::memset(&storage, 0, sizeof storage);
  if (ip.is_v6) {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&storage);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    std::memcpy(&in6->sin6_addr, ip.bytes.data(), 16);
    return sizeof *in6;
  }
  auto* in4 = reinterpret_cast<sockaddr_in*>(&storage);
  in4->sin_family = AF_INET;
  in4->sin_port = htons(port);
  std::memcpy(&in4->sin_addr, ip.bytes.data(), 4);
  return sizeof *in4;
}

std::optional<Endpoint> Endpoint::from_sockaddr(const sockaddr_storage& storage) {
  Endpoint endpoint;
  if (storage.ss_family == AF_INET) {
    const auto* in4 = reinterpret_cast<const sockaddr_in*>(&storage);
    std::memcpy(endpoint.ip.bytes.data(), &in4->sin_addr, 4);
    endpoint.port = ntohs(in4->sin_port);
    return endpoint;
  }
  if (storage.ss_family == AF_INET6) {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    endpoint.ip.is_v6 = true;
    std::memcpy(endpoint.ip.bytes.data(), &in6->sin6_addr, 16);
    endpoint.port = ntohs(in6->sin6_port);
    return endpoint;
  }
  return std::nullopt;
}

std::optional<Endpoint> Endpoint::parse(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return std::nullopt;
  }
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.contains(':')) {
    return std::nullopt;
  }
  const auto ip = IpAddress::parse(host == "localhost" ? "127.0.0.1" : host);
  const char* end = text.data() + text.size();
  Endpoint endpoint;
  const auto [rest, error] = std::from_chars(text.data() + colon + 1, end, endpoint.port);
  if (!ip || error != std::errc() || rest != end) {
    return std::nullopt;
  }
  endpoint.ip = *ip;
  return endpoint;
}

std::string Endpoint::to_string() const {
  const std::string number = std::to_string(port);
  return ip.is_v6 ? "[" + ip.to_string() + "]:" + number : ip.to_string() + ":" + number;
}

}  // namespace mirrord::net
