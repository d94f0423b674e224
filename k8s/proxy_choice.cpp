// k8s/proxy_choice.cpp — HTTPS_PROXY and NO_PROXY.
#include "k8s/proxy_choice.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "net/address.h"

namespace mirrord::k8s {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  return begin == std::string_view::npos
             ? std::string_view()
             : text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

bool is_in_network(const net::IpAddress& address, std::string_view network) {
  const std::size_t slash = network.find('/');
  const auto base = net::IpAddress::parse(network.substr(0, slash));
  const std::string_view bits_text = network.substr(slash + 1);
  unsigned bits = 0;
  if (!base || base->is_v6 != address.is_v6 ||
      std::from_chars(bits_text.data(), bits_text.data() + bits_text.size(), bits).ec !=
          std::errc{} ||
      bits > (address.is_v6 ? 128U : 32U)) {
    return false;
  }
  for (std::size_t i = 0; i < bits; ++i) {
    const int mask = 0x80 >> (i % 8);
    if (((base->bytes[i / 8] ^ address.bytes[i / 8]) & mask) != 0) {
      return false;
    }
  }
  return true;
}

bool is_this_machine(const std::string& host, const std::optional<net::IpAddress>& address) {
  if (host == "localhost") {
    return true;
  }
  return address &&
         (address->is_v6 ? *address == net::IpAddress::v6_loopback() : address->bytes[0] == 127);
}

bool is_excepted(const UrlParts& server, std::string_view part,
                 const std::optional<net::IpAddress>& address) {
  const std::string pattern = lower(trimmed(part));
  if (pattern.empty()) {
    return false;
  }
  if (pattern == "*") {
    return true;
  }
  if (address && pattern.find('/') != std::string::npos) {
    return is_in_network(*address, pattern);
  }
  std::string name = pattern;
  const std::size_t colon = pattern.rfind(':');
  const bool is_bare_v6 = pattern.find(':') != colon && !pattern.starts_with('[');
  if (colon != std::string::npos && !is_bare_v6 && !pattern.ends_with(']')) {
    if (pattern.substr(colon + 1) != server.port) {
      return false;
    }
    name = pattern.substr(0, colon);
  }
  if (name.starts_with('[') && name.ends_with(']')) {
    name = name.substr(1, name.size() - 2);
  }
  if (address) {
    const auto excepted = net::IpAddress::parse(name);
    return excepted && *excepted == *address;
  }
  const std::string host = lower(server.host);
  if (name.starts_with("*.")) {
    name.erase(0, 1);
  }
  return name.starts_with('.') ? host.ends_with(name) : host == name || host.ends_with("." + name);
}

}  // namespace

std::string UrlParts::authority() const {
  return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + port;
}

UrlParts split_url(std::string_view url) {
  UrlParts parts;
  const std::size_t scheme = url.find("://");
  parts.scheme = scheme == std::string_view::npos ? "https" : lower(url.substr(0, scheme));
  url.remove_prefix(scheme == std::string_view::npos ? 0 : scheme + 3);
  const std::size_t slash = std::min(url.find('/'), url.size());
  std::string_view authority = url.substr(0, slash);
  parts.prefix = url.substr(slash);
  while (parts.prefix.ends_with('/')) {
    parts.prefix.pop_back();
  }
  authority.remove_prefix(authority.rfind('@') + 1);  // npos + 1 is 0
  parts.port = parts.scheme == "http" || parts.scheme == "ws" ? "80" : "443";
  const std::size_t bracket = authority.find(']');
  const std::size_t colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon != std::string_view::npos) {
    if (colon + 1 < authority.size()) {
      parts.port = authority.substr(colon + 1);
    }
    authority = authority.substr(0, colon);
  }
  if (authority.starts_with('[') && authority.ends_with(']')) {
    authority = authority.substr(1, authority.size() - 2);
  }
  parts.host = authority;
  return parts;
}

std::string proxy_of_environment(const UrlParts& server, const Variables& variables) {
  const bool is_plain = server.scheme == "http";
  std::string proxy = variables(is_plain ? "HTTP_PROXY" : "HTTPS_PROXY");
  if (proxy.empty()) {
    proxy = variables(is_plain ? "http_proxy" : "https_proxy");
  }
  if (proxy.empty()) {
    return {};
  }
  const auto address = net::IpAddress::parse(server.host);
  if (is_this_machine(lower(server.host), address)) {
    return {};
  }
  std::string exceptions = variables("NO_PROXY");
  if (exceptions.empty()) {
    exceptions = variables("no_proxy");
  }
  std::string_view rest = exceptions;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(','), rest.size());
    if (is_excepted(server, rest.substr(0, end), address)) {
      return {};
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return proxy;
}

}  // namespace mirrord::k8s
