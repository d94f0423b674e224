// proto/version.cpp — precedence of semantic versions and the settlement of the handshake.
#include "proto/version.h"

#include <algorithm>
#include <tuple>

namespace mirrord::proto {

namespace {

bool is_numeric(std::string_view identifier) {
  return std::all_of(identifier.begin(), identifier.end(),
                     [](char c) { return c >= '0' && c <= '9'; });
}

// Numbers by value (no leading zeros, so the longer is greater) and below words; words by bytes.
std::weak_ordering compare_identifiers(std::string_view a, std::string_view b) {
  if (is_numeric(a) != is_numeric(b))
    return is_numeric(a) ? std::weak_ordering::less : std::weak_ordering::greater;
  if (is_numeric(a) && a.size() != b.size())
    return a.size() <=> b.size();
  return a <=> b;
}

// No pre-release ranks above any; fewer identifiers rank below more.
std::weak_ordering compare_pre_releases(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty())
    return a.empty() <=> b.empty();
  while (true) {
    const std::string_view first_a = a.substr(0, a.find('.'));
    const std::string_view first_b = b.substr(0, b.find('.'));
    if (const auto order = compare_identifiers(first_a, first_b); order != 0)
      return order;
    const bool a_ends = first_a.size() == a.size();
    const bool b_ends = first_b.size() == b.size();
    if (a_ends || b_ends)
      return b_ends <=> a_ends;
    a.remove_prefix(first_a.size() + 1);
    b.remove_prefix(first_b.size() + 1);
  }
}

}  // namespace

SemVer own_version() {
  return *SemVer::parse(kProtocolVersion);
}

SemVer client_version(std::string_view key) {
  SemVer version = own_version();
  version.build = kFlight;
  if (!key.empty())
    version.build.append(".").append(key);
  return version;
}

bool speaks_flight(const SemVer& version) {
  const std::string_view build = version.build;
  return build.substr(0, build.find('.')) == kFlight;
}

std::string_view client_key(const SemVer& version) {
  const std::string_view build = version.build;
  return speaks_flight(version) && build.size() > kFlight.size() ? build.substr(kFlight.size() + 1)
                                                                 : std::string_view();
}

std::weak_ordering compare(const SemVer& a, const SemVer& b) {
  const auto numbers = std::tie(a.major, a.minor, a.patch) <=> std::tie(b.major, b.minor, b.patch);
  return numbers != 0 ? numbers : compare_pre_releases(a.pre, b.pre);
}

SemVer settle(const SemVer& own, const SemVer& client) {
  SemVer settled = compare(client, own) < 0 ? client : own;
  settled.build = speaks_flight(client) ? kFlight : std::string_view();
  return settled;
}

bool satisfies(const SemVer& peer, Gate gate) {
  const GateRow& row = kGates[static_cast<std::size_t>(gate)];
  return peer.pre.empty() &&
         std::tie(peer.major, peer.minor, peer.patch) >= std::tie(row.major, row.minor, row.patch);
}

}  // namespace mirrord::proto
