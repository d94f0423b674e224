// applets/intproxy/address.cpp — conversions between three forms of one address.
#include "applets/intproxy/address.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace mirrord::intproxy {

std::optional<net::Endpoint> endpoint_of(const local::Address& address) {
  if (address.family != AF_INET && address.family != AF_INET6) {
    return std::nullopt;
  }
  net::Endpoint endpoint;
  endpoint.ip.is_v6 = address.family == AF_INET6;
  std::memcpy(endpoint.ip.bytes.data(), address.data, endpoint.ip.is_v6 ? 16 : 4);
  endpoint.port = address.port;
  return endpoint;
}

local::Address to_local(const net::Endpoint& endpoint) {
  local::Address address{};
  address.family = endpoint.ip.is_v6 ? AF_INET6 : AF_INET;
  address.port = endpoint.port;
  address.length = endpoint.ip.is_v6 ? 16 : 4;
  std::memcpy(address.data, endpoint.ip.bytes.data(), address.length);
  return address;
}

std::optional<proto::SocketAddress> to_wire(const local::Address& address) {
  using proto::SocketAddress;
  using proto::UnixAddr;
  if (const auto endpoint = endpoint_of(address)) {
    proto::SockAddr result;
    result.ip = {endpoint->ip.is_v6, endpoint->ip.bytes};
    result.port = endpoint->port;
    return SocketAddress::make<"Ip">(result);
  }
  if (address.family != AF_UNIX || address.length == 0 || address.length > sizeof address.data) {
    return std::nullopt;
  }
  std::string_view text(reinterpret_cast<const char*>(address.data), address.length);
  if (text.front() == '\0') {
    return SocketAddress::make<"Unix">(UnixAddr::make<"Abstract">(proto::Bytes(text.substr(1))));
  }
  text = text.substr(0, text.find('\0'));
  return SocketAddress::make<"Unix">(UnixAddr::make<"Pathname">(text));
}

local::Address to_local(const proto::SocketAddress& address) {
  if (const proto::SockAddr* ip = address.get_if<"Ip">()) {
    return to_local(net::Endpoint{{ip->ip.is_v6, ip->ip.octets}, ip->port});
  }
  local::Address result{};
  result.family = AF_UNIX;
  const auto put = [&](std::string_view text, std::size_t begin) {
    const std::size_t size = std::min(text.size(), sizeof result.data - begin);
    std::memcpy(result.data + begin, text.data(), size);
    result.length = static_cast<std::uint32_t>(begin + size);
  };
  const proto::UnixAddr& unix_address = address.get<"Unix">();
  if (const proto::Path* path = unix_address.get_if<"Pathname">()) {
    put(path->value, 0);
  } else if (const proto::Bytes* name = unix_address.get_if<"Abstract">()) {
    put(name->text(), 1);
  }
  return result;
}

}  // namespace mirrord::intproxy
