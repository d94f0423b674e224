// proto/decoder.h — the resumable decoder behind codec.h and stream_decoder.h; included only there.
//
// read(T&) fills a value in place and returns false when it cannot finish: after fail() for good,
// otherwise because the input ran out. While it unwinds, every composite on the way (struct, enum,
// list, …) pushes one word that says where it was; when more input is there the same call walks the
// same way back, each composite popping its word, and goes on with the element that was cut.
// Integers and addresses are all or nothing. Strings keep what they have and `missing_` says how
// much is to come; only one string can be unfinished.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "proto/basic.h"
#include "proto/codec.h"
#include "proto/reflect.h"
#include "proto/text.h"

namespace mirrord::proto::detail {

class Decoder {
 public:
  // The input of the next read(). `offset` is its position in the stream, for errors.
  void set_input(std::span<const std::byte> input, u64 offset) {
    begin_ = at_ = input.data();
    end_ = at_ + input.size();
    offset_ = offset;
    unfinished_payload_ = nullptr;
  }

  std::size_t consumed() const { return static_cast<std::size_t>(at_ - begin_); }
  const std::optional<DecodeError>& error() const { return error_; }
  bool is_between_messages() const { return resume_.empty(); }
  void start_message() { memory_ = 0; }

  // The byte string that the last read() stopped in, if it did, and the bytes it lacks. They may
  // be put straight into it: payload()->commit(n), then payload_received(n).
  Bytes* unfinished_payload() const { return unfinished_payload_; }
  std::size_t missing() const { return missing_; }
  void payload_received(std::size_t count) { missing_ -= count; }

  // ---- leaves

  bool read(Unit&) { return true; }

  bool read(u8& out) {
    if (at_ == end_)
      return false;
    out = static_cast<u8>(*at_++);
    return true;
  }
  bool read(bool& out) {
    if (at_ == end_)
      return false;
    if (static_cast<u8>(*at_) > 1)
      return fail("invalid boolean " + std::to_string(static_cast<u8>(*at_)));
    out = *at_++ == std::byte{1};
    return true;
  }

  bool read(u16& out) { return read_varint(out); }
  bool read(u32& out) { return read_varint(out); }
  bool read(u64& out) { return read_varint(out); }
  bool read(u128& out) { return read_varint(out); }
  bool read(i32& out) { return read_zigzag<u32>(out); }
  bool read(i64& out) { return read_zigzag<u64>(out); }

  bool read(Uid& out) {
    u128 number = 0;
    if (!read(number))
      return false;
    for (std::size_t i = 16; i-- > 0; number >>= 8)
      out.bytes[i] = static_cast<u8>(number);
    return true;
  }

  bool read(Ip& out);
  bool read(SockAddr& out);
  bool read(Bytes& out);
  bool read(std::string& out) { return read_text(out, Text::kUtf8); }
  bool read(Path& out) { return read_text(out.value, Text::kUtf8); }
  bool read(SemVer& out);
  bool read(HttpMethod& out);
  bool read(HttpUri& out);
  bool read(HttpVersion& out);
  bool read(HttpStatus& out);
  bool read(HttpHeaders& out);

  // ---- composites

  template <class T>
  bool read(std::vector<T>& out) {
    return read_list(out, [this](T& element) { return this->read(element); });
  }
  template <class T>
  bool read(Set<T>& out) {
    return read(static_cast<std::vector<T>&>(out)) && (drop_duplicates(out), true);
  }
  template <class K, class V>
  bool read(Map<K, V>& out) {
    auto read_pair = [this](std::pair<K, V>& entry) { return read_all(entry.first, entry.second); };
    return read_list(out, read_pair) && (keep_last_values(out), true);
  }
  template <class T>
  bool read(std::optional<T>& out) {
    if (is_resuming()) {
      pop();
    } else {
      if (at_ == end_)
        return false;
      const auto tag = static_cast<u8>(*at_);
      if (tag > 1)
        return fail("invalid tag " + std::to_string(tag) + " of an optional value");
      ++at_;
      if (tag == 0)
        return out.reset(), true;
      out.emplace();
    }
    return read(*out) || push(0);
  }
  template <class T>
  bool read(Res<T>& out) {
    if (is_resuming()) {
      pop();
    } else {
      u32 tag = 0;
      if (!read(tag))
        return false;
      if (tag > 1)
        return fail("unknown variant " + std::to_string(tag) + " of a result");
      if (tag == 0)
        out = T{};
      else
        out = std::unexpected(ResponseError{});
    }
    return (out.has_value() ? read(*out) : read(out.error())) || push(0);
  }
  template <class T, std::size_t N>
  bool read(std::array<T, N>& out) {
    return std::apply([this](auto&... element) { return this->read_all(element...); }, out);
  }
  template <WireEnum T>
  bool read(T& out) {
    if (is_resuming()) {
      pop();
    } else {
      u32 index = 0;
      if (!read(index))
        return false;
      if (index >= T::kSize)
        return fail("unknown variant " + std::to_string(index) + " of " +
                    std::string(kTypeName<T>));
      out.reset_to(index);
    }
    constexpr bool is_recursive = std::is_same_v<T, HttpFilter>;
    if (is_recursive && nesting_ >= HttpFilter::kMaxNesting)
      return fail("filters nested too deeply");
    nesting_ += is_recursive;
    const bool is_complete = out.visit([this](auto& payload) { return this->read(payload); });
    nesting_ -= is_recursive;
    return is_complete || push(0);
  }
  template <class T>
  bool read(T& out) {
    static_assert(std::is_aggregate_v<T> && !WireEnum<T>);
    return with_fields(out, [this](auto&... field) { return this->read_all(field...); });
  }

 private:
  enum class Text { kUtf8, kRaw };

  bool is_resuming() const { return !resume_.empty(); }
  bool push(u64 where) {
    resume_.push_back(where);
    return false;
  }
  u64 pop() {
    const u64 where = resume_.back();
    resume_.pop_back();
    return where;
  }
  bool fail(std::string what) {
    error_ = DecodeError{std::move(what), offset_ + consumed(), false};
    return false;
  }

  template <class T>
  bool read_varint(T& out) {
    if (at_ == end_)
      return false;
    const auto first = static_cast<u8>(*at_);
    if (first > 250) {
      u128 wide = 0;
      if (!read_wide(wide, sizeof(T)))
        return false;
      out = static_cast<T>(wide);
      return true;
    }
    out = first;
    ++at_;
    return true;
  }
  bool read_wide(u128& out, std::size_t max_width);

  template <class U, class S>
  bool read_zigzag(S& out) {
    U zigzag = 0;
    if (!read_varint(zigzag))
      return false;
    out = static_cast<S>((zigzag >> 1) ^ (U{0} - (zigzag & 1)));
    return true;
  }

  // Accounts for memory that the message is about to take.
  bool charge(u64 bytes) {
    if (bytes > kMaxMessageMemory - memory_)
      return fail("message too large");
    memory_ += bytes;
    return true;
  }
  // Starts a string: its announced length becomes missing_.
  bool read_length();
  bool read_text(std::string& out, Text kind);

  // Fields in order; the word pushed is the index of the one that was cut.
  template <class... T>
  bool read_all(T&... field) {
    const u64 first = is_resuming() ? pop() : 0;
    u64 index = 0;
    const bool done = ((index < first || read(field) ? (++index, true) : false) && ...);
    return done || push(index);
  }

  // The word pushed is the number of elements that are not complete.
  template <class Vector, class ReadElement>
  bool read_list(Vector& out, ReadElement read_element, u64 max_count = kMaxMessageMemory) {
    using Element = typename Vector::value_type;
    u64 open = 0;
    if (is_resuming()) {
      open = pop();
    } else {
      if (!read(open))
        return false;
      if (open > max_count)
        return fail("list too long");
      if (!charge(open * sizeof(Element)))
        return false;
      out.clear();
      // An element takes at least a byte, so this reserves no more than the input could fill.
      out.reserve(static_cast<std::size_t>(std::min<u64>(open, static_cast<u64>(end_ - at_))));
      if (open > 0)
        out.emplace_back();
    }
    while (open > 0) {
      if (!read_element(out.back()))
        return push(open);
      if (--open > 0)
        out.emplace_back();
    }
    return true;
  }

  template <class T>
  static void drop_duplicates(Set<T>& set) {
    std::unordered_map<T, bool> seen;
    std::erase_if(set, [&](const T& item) { return !seen.emplace(item, true).second; });
  }
  template <class K, class V>
  static void keep_last_values(Map<K, V>& map) {
    std::unordered_map<K, std::size_t> first_of;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < map.size(); ++i) {
      const auto [first, is_new] = first_of.emplace(map[i].first, kept);
      if (!is_new)
        map[first->second].second = std::move(map[i].second);
      else if (kept++ != i)
        map[kept - 1] = std::move(map[i]);
    }
    map.resize(kept);
  }

  const std::byte* begin_ = nullptr;
  const std::byte* at_ = nullptr;
  const std::byte* end_ = nullptr;
  u64 offset_ = 0;
  std::vector<u64> resume_;
  std::size_t missing_ = 0;
  Bytes* unfinished_payload_ = nullptr;
  std::string scratch_;  // an unfinished text that its value cannot hold, such as a version
  u64 memory_ = 0;
  int nesting_ = 0;
  std::optional<DecodeError> error_;
};

}  // namespace mirrord::proto::detail
