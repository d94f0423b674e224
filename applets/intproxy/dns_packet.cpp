// applets/intproxy/dns_packet.cpp — the few fields of DNS packets that a resolver looks at.
#include "applets/intproxy/dns_packet.h"

#include <algorithm>

namespace mirrord::intproxy {
namespace {

constexpr unsigned kRecursionDesired = 0x0100;
constexpr unsigned kResponse = 0x80;   // in byte 2
constexpr unsigned kTruncated = 0x02;  // in byte 2

void put16(std::string& out, unsigned value) {
  out += static_cast<char>(value >> 8);
  out += static_cast<char>(value);
}

unsigned byte_at(std::string_view packet, std::size_t at) {
  return static_cast<unsigned char>(packet[at]);
}

unsigned get16(std::string_view packet, std::size_t at) {
  return byte_at(packet, at) << 8 | byte_at(packet, at + 1);
}

// The first question as it lies in the packet; empty when there is none.
std::string_view question_of(std::string_view packet) {
  if (packet.size() < kDnsHeaderSize || get16(packet, 4) == 0) {
    return {};
  }
  std::size_t end = kDnsHeaderSize;
  while (end < packet.size() && byte_at(packet, end) != 0) {
    end += byte_at(packet, end) + 1;
  }
  end += 5;  // the root label, type and class
  return end > packet.size() ? std::string_view()
                             : packet.substr(kDnsHeaderSize, end - kDnsHeaderSize);
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

std::string make_dns_query(std::uint16_t id, std::string_view name, std::uint16_t dns_class,
                           std::uint16_t type) {
  std::string packet;
  put16(packet, id);
  put16(packet, kRecursionDesired);
  put16(packet, 1);
  packet.append(6, '\0');
  if (name.ends_with('.')) {
    name.remove_suffix(1);
  }
  while (!name.empty()) {
    const std::size_t end = std::min(name.find('.'), name.size());
    packet += static_cast<char>(end);
    packet += name.substr(0, end);
    name.remove_prefix(std::min(end + 1, name.size()));
  }
  packet += '\0';
  put16(packet, type);
  put16(packet, dns_class);
  return packet;
}

bool is_dns_answer(std::string_view packet, std::string_view query) {
  if (packet.size() < kDnsHeaderSize || query.size() < kDnsHeaderSize ||
      packet.substr(0, 2) != query.substr(0, 2) || (byte_at(packet, 2) & kResponse) == 0) {
    return false;
  }
  const std::string_view asked = question_of(query);
  const std::string_view answered = question_of(packet);
  return asked.empty() || answered.empty() || std::ranges::equal(asked, answered, {}, lower, lower);
}

DnsCode dns_code(std::string_view packet) {
  return static_cast<DnsCode>(byte_at(packet, 3) & 0x0F);
}

bool is_dns_truncated(std::string_view packet) {
  return (byte_at(packet, 2) & kTruncated) != 0;
}

std::uint16_t dns_answer_count(std::string_view packet) {
  return static_cast<std::uint16_t>(get16(packet, 6));
}

}  // namespace mirrord::intproxy
