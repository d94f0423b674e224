// proto/basic.h — the leaf types of the wire: integers, paths, ids, addresses, versions, sets, maps.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/bytes.h"
#include "proto/reflect.h"

namespace mirrord::proto {

// u8 is one raw byte on the wire, the wider ones are variable-length integers; i32 and i64 are
// zigzag first. usize travels as u64.
using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using usize = std::uint64_t;
using i32 = std::int32_t;
using i64 = std::int64_t;
__extension__ typedef unsigned __int128 u128;

using ConnectionId = u64;
using RequestId = u16;
using Port = u16;
using Payload = Bytes;

// A path of the target. The wire carries only UTF-8; encode() refuses anything else.
struct Path {
  std::string value;

  Path() = default;
  Path(std::string text) : value(std::move(text)) {}
  Path(std::string_view text) : value(text) {}
  Path(const char* text) : value(text) {}
  friend auto operator<=>(const Path&, const Path&) = default;
};

// A UUID in text order. On the wire: one u128 whose most significant byte comes first here.
struct Uid {
  std::array<u8, 16> bytes{};

  std::string to_string() const;
  static std::optional<Uid> parse(std::string_view text);
  friend auto operator<=>(const Uid&, const Uid&) = default;
};

// An IPv4 address fills the first four octets and leaves the rest zero.
struct Ip {
  bool is_v6 = false;
  std::array<u8, 16> octets{};

  static Ip v4(u8 a, u8 b, u8 c, u8 d) { return {false, {a, b, c, d}}; }
  static Ip v6(const std::array<u8, 16>& octets) { return {true, octets}; }
  static std::optional<Ip> parse(std::string_view text);
  std::string to_string() const;
  std::size_t length() const { return is_v6 ? 16 : 4; }
  friend auto operator<=>(const Ip&, const Ip&) = default;
};

// IPv6 flow information and scope do not exist on the wire.
struct SockAddr {
  Ip ip;
  Port port = 0;

  static std::optional<SockAddr> parse(std::string_view text);  // "1.2.3.4:80", "[::1]:80"
  std::string to_string() const;
  friend auto operator<=>(const SockAddr&, const SockAddr&) = default;
};

// A semantic version, in text on the wire; version.h says what is compared and how.
struct SemVer {
  u64 major = 0;
  u64 minor = 0;
  u64 patch = 0;
  std::string pre;    // without the leading '-'
  std::string build;  // without the leading '+'

  static std::optional<SemVer> parse(std::string_view text);  // strict SemVer 2
  std::string to_string() const;
  friend bool operator==(const SemVer&, const SemVer&) = default;
};

// Sets and maps of the wire have no order. Encoding keeps the order given here; decoding drops
// duplicates (of a map's keys the last value stays).
template <class T>
struct Set : std::vector<T> {
  using std::vector<T>::vector;
};

template <class K, class V>
struct Map : std::vector<std::pair<K, V>> {
  using std::vector<std::pair<K, V>>::vector;

  const V* find(const K& key) const {
    for (const auto& [k, v] : *this)
      if (k == key)
        return &v;
    return nullptr;
  }
};

}  // namespace mirrord::proto

template <>
struct std::hash<mirrord::proto::Uid> {
  std::size_t operator()(const mirrord::proto::Uid& uid) const noexcept {
    // Version 4 identifiers are random, so any of their bytes are a hash.
    std::size_t value = 0;
    std::memcpy(&value, uid.bytes.data() + 8, sizeof value);
    return value;
  }
};
