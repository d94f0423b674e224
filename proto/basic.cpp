// proto/basic.cpp — text forms of addresses, UUIDs and semantic versions.
#include "proto/basic.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "proto/text.h"

namespace mirrord::proto {

namespace {

template <class T>
std::optional<T> parse_decimal(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size())
    return std::nullopt;
  return value;
}

bool is_digits(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::optional<u64> parse_version_number(std::string_view text) {
  if (!is_digits(text) || (text.size() > 1 && text[0] == '0'))
    return std::nullopt;
  return parse_decimal<u64>(text);
}

// Dot-separated, non-empty identifiers; numeric ones of a pre-release have no leading zero.
bool is_identifier_list(std::string_view text, bool is_pre_release) {
  while (true) {
    const std::string_view part = text.substr(0, text.find('.'));
    const bool valid = std::all_of(part.begin(), part.end(), [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
    });
    if (part.empty() || !valid)
      return false;
    if (is_pre_release && part.size() > 1 && part[0] == '0' && is_digits(part))
      return false;
    if (part.size() == text.size())
      return true;
    text.remove_prefix(part.size() + 1);
  }
}

void append_hex16(std::string& out, unsigned value) {
  char digits[4];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, 16).ptr;
  out.append(digits, end);
}

// RFC 5952: the longest run of two or more zero groups becomes "::", the first if several.
std::string v6_to_string(const std::array<u8, 16>& octets) {
  std::array<unsigned, 8> groups{};
  for (std::size_t i = 0; i < 8; ++i)
    groups[i] = static_cast<unsigned>(octets[2 * i]) << 8 | octets[2 * i + 1];
  std::size_t best = 0;
  std::size_t best_length = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    std::size_t length = 0;
    while (i + length < 8 && groups[i + length] == 0)
      ++length;
    if (length > best_length) {
      best = i;
      best_length = length;
    }
  }
  std::string out;
  for (std::size_t i = 0; i < 8; ++i) {
    if (best_length >= 2 && i == best) {
      out += "::";
      i += best_length - 1;
      continue;
    }
    if (!out.empty() && !out.ends_with(':'))
      out += ':';
    append_hex16(out, groups[i]);
  }
  return out;
}

}  // namespace

std::string Ip::to_string() const {
  if (is_v6)
    return v6_to_string(octets);
  std::string out = std::to_string(octets[0]);
  for (std::size_t i = 1; i < 4; ++i)
    out += '.' + std::to_string(octets[i]);
  return out;
}

std::optional<Ip> Ip::parse(std::string_view text) {
  const std::string copy(text);
  Ip ip;
  ip.is_v6 = text.contains(':');
  if (inet_pton(ip.is_v6 ? AF_INET6 : AF_INET, copy.c_str(), ip.octets.data()) != 1)
    return std::nullopt;
  return ip;
}

std::string SockAddr::to_string() const {
  const std::string address = ip.is_v6 ? '[' + ip.to_string() + ']' : ip.to_string();
  return address + ':' + std::to_string(port);
}

std::optional<SockAddr> SockAddr::parse(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos)
    return std::nullopt;
  std::string_view address = text.substr(0, colon);
  const bool bracketed = address.starts_with('[') && address.ends_with(']');
  if (bracketed)
    address = address.substr(1, address.size() - 2);
  const auto ip = Ip::parse(address);
  const auto port = parse_decimal<u16>(text.substr(colon + 1));
  if (!ip || !port || ip->is_v6 != bracketed)
    return std::nullopt;
  return SockAddr{*ip, *port};
}

std::string Uid::to_string() const {
  std::string hex;
  append_hex(hex, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  for (const std::size_t position : {20u, 16u, 12u, 8u})
    hex.insert(position, 1, '-');
  return hex;
}

std::optional<Uid> Uid::parse(std::string_view text) {
  if (text.size() != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-')
    return std::nullopt;
  std::string digits(text);
  std::erase(digits, '-');
  const auto raw = parse_hex(digits);
  if (!raw || raw->size() != 16)
    return std::nullopt;
  Uid uid;
  std::memcpy(uid.bytes.data(), raw->data(), 16);
  return uid;
}

std::optional<SemVer> SemVer::parse(std::string_view text) {
  SemVer version;
  if (const auto plus = text.find('+'); plus != std::string_view::npos) {
    version.build = text.substr(plus + 1);
    if (!is_identifier_list(version.build, false))
      return std::nullopt;
    text = text.substr(0, plus);
  }
  if (const auto dash = text.find('-'); dash != std::string_view::npos) {
    version.pre = text.substr(dash + 1);
    if (!is_identifier_list(version.pre, true))
      return std::nullopt;
    text = text.substr(0, dash);
  }
  const auto first = text.find('.');
  const auto second = first == std::string_view::npos ? first : text.find('.', first + 1);
  if (second == std::string_view::npos)
    return std::nullopt;
  const auto major = parse_version_number(text.substr(0, first));
  const auto minor = parse_version_number(text.substr(first + 1, second - first - 1));
  const auto patch = parse_version_number(text.substr(second + 1));
  if (!major || !minor || !patch)
    return std::nullopt;
  version.major = *major;
  version.minor = *minor;
  version.patch = *patch;
  return version;
}

std::string SemVer::to_string() const {
  std::string out =
      std::to_string(major) + '.' + std::to_string(minor) + '.' + std::to_string(patch);
  if (!pre.empty())
    out += '-' + pre;
  if (!build.empty())
    out += '+' + build;
  return out;
}

}  // namespace mirrord::proto
