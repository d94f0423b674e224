// applets/config/filters.cpp — parses and matches address filters.
#include "applets/config/filters.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "applets/config/message.h"

namespace mirrord::config {
namespace {

using local::FilterKind;
using local::FilterProtocol;

constexpr std::string_view kOutgoingForm =
    "Write [tcp://|udp://][NAME|IP|[IPV6]|IP/LENGTH][:PORT], for example `tcp://10.0.0.0/8:443`.";
constexpr std::string_view kDnsForm =
    "Write NAME, IP, [IPV6] or IP/LENGTH, each with or without :PORT, for example `db.example`.";

bool parse_number(std::string_view text, unsigned limit, unsigned& value) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return !text.empty() && code == std::errc() && end == text.data() + text.size() && value <= limit;
}

bool is_host_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.';
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string lowered(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), lower);
  return out;
}

// The host and what follows it; `text` is cut to the rest. False: an open bracket stays open.
bool take_host(std::string_view& text, std::string& host) {
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos)
      return false;
    host = text.substr(1, close - 1);
    text.remove_prefix(close + 1);
    return !host.empty() && host.find_first_not_of("0123456789abcdefABCDEF:.") == host.npos;
  }
  const auto end = std::ranges::find_if_not(text, is_host_letter);
  host.assign(text.begin(), end);
  text.remove_prefix(host.size());
  return true;
}

bool take_protocol(std::string_view& text, FilterProtocol& protocol) {
  const std::size_t at = text.find("://");
  if (at == std::string_view::npos)
    return true;
  const std::string word = lowered(text.substr(0, at));
  text.remove_prefix(at + 3);
  protocol = word == "tcp"   ? FilterProtocol::kTcp
             : word == "udp" ? FilterProtocol::kUdp
                             : FilterProtocol::kAny;
  return word == "tcp" || word == "udp" || word == "any";
}

bool same_prefix(const uint8_t* a, const uint8_t* b, unsigned bits) {
  if (std::memcmp(a, b, bits / 8) != 0)
    return false;
  const unsigned rest = bits % 8;
  return rest == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - rest)) == 0;
}

}  // namespace

bool parse_address(std::string_view text, uint8_t& family, uint8_t (&address)[16]) {
  const std::string copy(text);
  std::memset(address, 0, sizeof address);
  if (inet_pton(AF_INET, copy.c_str(), address) == 1) {
    family = AF_INET;
    return true;
  }
  if (inet_pton(AF_INET6, copy.c_str(), address) == 1) {
    family = AF_INET6;
    return true;
  }
  return false;
}

Result<FilterEntry> parse_filter(std::string_view text, FilterGrammar grammar) {
  const auto invalid = [&](const std::string& why) {
    return fail(ErrorCode::kConfig, "invalid filter `" + quotable(text) + "`: " + why,
                std::string(grammar == FilterGrammar::kDns ? kDnsForm : kOutgoingForm));
  };
  FilterEntry entry{};
  std::string_view rest = text;
  if (grammar == FilterGrammar::kOutgoing && !take_protocol(rest, entry.rule.protocol))
    return invalid("the protocol must be tcp, udp or any");
  if (grammar == FilterGrammar::kDns && rest.empty())
    return invalid("it is empty");
  if (grammar == FilterGrammar::kDns && rest.find("://") != rest.npos)
    return invalid("a DNS filter has no protocol");

  std::string host;
  if (!take_host(rest, host))
    return invalid("an IPv6 address stands in square brackets");
  unsigned length = 0;
  bool has_length = false;
  if (rest.starts_with('/')) {
    const std::size_t end = rest.find(':');
    has_length = parse_number(rest.substr(1, end == rest.npos ? end : end - 1), 128, length);
    if (!has_length)
      return invalid("the length after `/` must be a number of bits");
    rest = end == rest.npos ? std::string_view() : rest.substr(end);
  }
  unsigned port = 0;
  if (rest.starts_with(':') && !parse_number(rest.substr(1), 65535, port)) {
    if (rest.find('/') != rest.npos)
      return invalid("a path cannot stand after the port");
    return invalid(rest.find(':', 1) != rest.npos ? "an IPv6 address stands in square brackets"
                                                  : "the port must be a number up to 65535");
  }
  if (!rest.empty() && !rest.starts_with(':'))
    return invalid(rest.starts_with('*') ? "there are no wildcards; a subnet is written IP/LENGTH"
                                         : "`" + quotable(rest) + "` cannot stand there");

  entry.rule.port = static_cast<uint16_t>(port);
  if (host.empty()) {
    entry.rule.kind = FilterKind::kPort;
    return has_length ? Result<FilterEntry>(invalid("the address before `/` is missing")) : entry;
  }
  const bool is_address = parse_address(host, entry.rule.family, entry.rule.address);
  if (has_length && (!is_address || length > (entry.rule.family == AF_INET ? 32U : 128U)))
    return invalid(is_address ? "the length does not fit the address"
                              : "a subnet begins with an IP address");
  entry.rule.prefix_length = static_cast<uint8_t>(length);
  entry.rule.kind = has_length   ? FilterKind::kSubnet
                    : is_address ? FilterKind::kSocket
                                 : FilterKind::kName;
  if (entry.rule.kind == FilterKind::kName)
    entry.name = host;
  return entry;
}

bool filter_matches(const FilterEntry& entry, const Destination& destination) {
  const local::FilterRule& rule = entry.rule;
  const Destination& to = destination;
  if (rule.protocol != FilterProtocol::kAny && to.protocol != FilterProtocol::kAny &&
      rule.protocol != to.protocol)
    return false;
  if (rule.port != 0 && to.port != 0 && rule.port != to.port)
    return false;
  switch (rule.kind) {
    case FilterKind::kPort:
      return true;
    case FilterKind::kName:
      return !to.name.empty() && lowered(to.name) == lowered(entry.name);
    case FilterKind::kSocket: {
      const bool any = std::ranges::all_of(rule.address, [](uint8_t byte) { return byte == 0; });
      return any || (rule.family == to.family && std::memcmp(rule.address, to.address, 16) == 0);
    }
    case FilterKind::kSubnet:
      return rule.family == to.family && same_prefix(rule.address, to.address, rule.prefix_length);
  }
  return false;
}

}  // namespace mirrord::config
