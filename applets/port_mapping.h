// applets/port_mapping.h — the words of -L and -R.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "net/error.h"

namespace mirrord {

struct PortMapping {
  std::uint16_t local_port = 0;
  std::string host;  // a name or an address, as the target knows it
  std::uint16_t remote_port = 0;
};

// [LOCAL:]HOST:PORT; without LOCAL the same port is used here. An IPv6 address stands in brackets.
Result<PortMapping> parse_port_mapping(std::string_view text);

struct ReversePortMapping {
  std::uint16_t remote_port = 0;  // of the target
  std::uint16_t local_port = 0;
};

// [REMOTE:]LOCAL; without REMOTE the same port of the target is taken.
Result<ReversePortMapping> parse_reverse_mapping(std::string_view text);

}  // namespace mirrord
