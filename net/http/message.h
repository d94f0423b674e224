// net/http/message.h — heads of requests and responses as values, for HTTP/1 and HTTP/2 alike.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mirrord::net::http {

enum class Version : std::uint8_t { kHttp10, kHttp11, kHttp2 };

struct Header {
  std::string_view name, value;
  friend bool operator==(const Header&, const Header&) = default;
};

// Header fields in the order and the letter case of the wire. All text lies in one block: a head of ten
// fields costs two allocations. Names are compared without case. Views live until the next change.
class Headers {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Header;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    using reference = Header;

    Iterator(const Headers* headers, std::size_t index) : headers_(headers), index_(index) {}
    Header operator*() const { return (*headers_)[index_]; }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    Iterator operator++(int) { return {headers_, index_++}; }
    friend bool operator==(const Iterator&, const Iterator&) = default;

   private:
    const Headers* headers_;
    std::size_t index_;
  };

  Headers() = default;
  Headers(std::initializer_list<Header> headers);

  [[nodiscard]] bool empty() const { return entries_.empty(); }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  Header operator[](std::size_t index) const {
    const Entry& entry = entries_[index];
    return {{text_.data() + entry.offset, entry.name_size},
            {text_.data() + entry.offset + entry.name_size, entry.value_size}};
  }
  [[nodiscard]] Iterator begin() const { return {this, 0}; }
  [[nodiscard]] Iterator end() const { return {this, entries_.size()}; }

  // The value of the first field of that name.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const;
  [[nodiscard]] bool contains(std::string_view name) const { return find(name).has_value(); }
  // Whether the comma-separated list that all fields of that name form has `token` (without case).
  [[nodiscard]] bool has_token(std::string_view name, std::string_view token) const;

  void reserve(std::size_t fields, std::size_t bytes);
  void add(std::string_view name, std::string_view value);
  // Replaces the first field of that name, keeping its place and spelling, and removes further ones; adds
  // it at the end where there is none.
  void set(std::string_view name, std::string_view value);
  void remove(std::string_view name);
  void clear();

  // Same fields, same order, same spelling.
  friend bool operator==(const Headers& one, const Headers& other);

 private:
  struct Entry {
    std::uint32_t offset, name_size, value_size;  // the value stands behind the name
  };
  std::string text_;
  std::vector<Entry> entries_;
};

struct RequestHead {
  std::string method;
  // HTTP/1: as received, in origin, absolute, authority or asterisk form. HTTP/2: ":path"; of a CONNECT empty.
  std::string target;
  std::string scheme;  // HTTP/2 only: ":scheme"
  std::string
      authority;  // HTTP/2 only: ":authority"; HTTP/1 has it in the field Host or in the target
  Version version = Version::kHttp11;
  Headers headers;

  friend bool operator==(const RequestHead&, const RequestHead&) = default;
};

struct ResponseHead {
  int status = 200;
  std::string reason;  // HTTP/1 only; may be empty
  Version version = Version::kHttp11;
  Headers headers;

  friend bool operator==(const ResponseHead&, const ResponseHead&) = default;
};

// What is there of a body when its head is handed over: `bytes` (valid during the call), and whether nothing
// follows. With `is_end` and no bytes there is no body at all.
struct BodyStart {
  std::span<const std::byte> bytes;
  bool is_end = false;
};

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}
inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Calls `use` with each item of a comma-separated list, without the white space around it.
template <class Use>
void for_each_token(std::string_view list, Use&& use) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    std::string_view item = list.substr(0, comma);
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
    while (!item.empty() && (item.front() == ' ' || item.front() == '\t'))
      item.remove_prefix(1);
    while (!item.empty() && (item.back() == ' ' || item.back() == '\t'))
      item.remove_suffix(1);
    if (!item.empty())
      use(item);
  }
}

// ASCII without case, as names and tokens compare.
[[nodiscard]] bool equals_ignoring_case(std::string_view one, std::string_view other);
[[nodiscard]] std::string lower_case(std::string_view text);
// "GET", "Host": RFC 9110 §5.6.2.
[[nodiscard]] bool is_token(std::string_view text);
// No control character but the tab: RFC 9110 §5.5.
[[nodiscard]] bool is_field_value(std::string_view text);
// No space and no control character. More is not asked: servers differ, and the target's own is to judge.
[[nodiscard]] bool is_target(std::string_view text);
// Whether a head made of foreign parts can be written without meaning something else on the wire.
[[nodiscard]] bool is_valid(const RequestHead& head);
[[nodiscard]] bool is_valid(const ResponseHead& head);
[[nodiscard]] bool are_valid_trailers(const Headers& trailers);
// The reason phrase of RFC 9110 for a status; empty for one that has none.
[[nodiscard]] std::string_view reason_phrase(int status);
// "HTTP/1.1" and the like.
[[nodiscard]] std::string_view to_string(Version version);

// The request asks for a change of protocol (HTTP/1.1 "Upgrade" named in "Connection", RFC 9110 §7.8).
[[nodiscard]] bool asks_upgrade(const RequestHead& head);
// After this answer to that method the connection carries raw bytes (101, or 2xx to CONNECT).
[[nodiscard]] bool is_tunnel(std::string_view method, int status);
// An answer with this status to that method has no body, whatever its fields say (RFC 9112 §6.3).
[[nodiscard]] bool is_bodiless(std::string_view method, int status);

}  // namespace mirrord::net::http
