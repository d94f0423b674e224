// applets/port_mapping.cpp — parses the words of -L and -R.
#include "applets/port_mapping.h"

#include <charconv>
#include <optional>
#include <vector>

#include "net/address.h"
#include "net/dns_config.h"

namespace mirrord {
namespace {

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, port);
  return error == std::errc() && stopped == end && port != 0 ? std::optional(port) : std::nullopt;
}

// At colons that are not inside brackets.
std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  std::size_t begin = 0;
  int depth = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i == text.size() || (text[i] == ':' && depth == 0)) {
      parts.push_back(text.substr(begin, i - begin));
      begin = i + 1;
    } else {
      depth += text[i] == '[' ? 1 : text[i] == ']' ? -1 : 0;
    }
  }
  return parts;
}

std::unexpected<Error> wrong(std::string_view text, std::string_view why, std::string_view hint) {
  return fail(ErrorCode::kUsage,
              "the port mapping `" + std::string(text) + "`: " + std::string(why),
              std::string(hint));
}

constexpr std::string_view kForm = "Write it as LOCAL_PORT:HOST:PORT or HOST:PORT.";
constexpr std::string_view kReverseForm = "Write it as REMOTE_PORT:LOCAL_PORT or PORT.";

}  // namespace

Result<PortMapping> parse_port_mapping(std::string_view text) {
  const std::vector<std::string_view> parts = split(text);
  if (parts.size() != 2 && parts.size() != 3) {
    return wrong(text,
                 parts.size() == 1 ? "it names a port and no host" : "it has more than three parts",
                 kForm);
  }
  PortMapping mapping;
  const auto remote = parse_port(parts.back());
  const auto local = parse_port(parts.front());
  if (!remote || (parts.size() == 3 && !local)) {
    return wrong(
        text,
        "`" + std::string(remote ? parts.front() : parts.back()) + "` is no port from 1 to 65535",
        kForm);
  }
  mapping.remote_port = *remote;
  mapping.local_port = parts.size() == 3 ? *local : *remote;
  std::string_view host = parts[parts.size() - 2];
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    if (!net::IpAddress::parse(host)) {
      return wrong(text, "`" + std::string(host) + "` is no IPv6 address", kForm);
    }
  }
  mapping.host = host;
  if (!net::IpAddress::parse(host) && !net::is_askable(mapping.host)) {
    return wrong(text, "`" + mapping.host + "` is no host name", kForm);
  }
  return mapping;
}

Result<ReversePortMapping> parse_reverse_mapping(std::string_view text) {
  const std::vector<std::string_view> parts = split(text);
  const auto remote = parse_port(parts.front());
  const auto local = parse_port(parts.back());
  if (parts.size() > 2 || !remote || !local) {
    return wrong(text, "it is not one port or two", kReverseForm);
  }
  return ReversePortMapping{*remote, *local};
}

}  // namespace mirrord
