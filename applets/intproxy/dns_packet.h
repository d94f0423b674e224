// applets/intproxy/dns_packet.h — the few fields of DNS packets that a resolver looks at.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mirrord::intproxy {

inline constexpr std::size_t kDnsHeaderSize = 12;

enum class DnsCode : std::uint8_t {
  kNoError = 0,
  kServerFailure = 2,
  kNameError = 3,
  kNotImplemented = 4,
  kRefused = 5,
};

// One question, recursion desired. The name is askable (net/dns_config.h), or empty for the root.
std::string make_dns_query(std::uint16_t id, std::string_view name, std::uint16_t dns_class,
                           std::uint16_t type);

// Whether `packet` is a response to `query`: id and, if both have one, the question.
bool is_dns_answer(std::string_view packet, std::string_view query);

// Of a packet with a whole header.
DnsCode dns_code(std::string_view packet);
bool is_dns_truncated(std::string_view packet);
std::uint16_t dns_answer_count(std::string_view packet);

}  // namespace mirrord::intproxy
