// proto/encode.cpp — messages to bytes: one pass that checks and measures, one that writes.
#include <algorithm>
#include <array>
#include <cstring>
#include <expected>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/codec.h"
#include "proto/reflect.h"
#include "proto/text.h"

namespace mirrord::proto {

namespace {

// First pass: the exact size, the first problem, and which payload a gather write may take out.
class Measure {
 public:
  static constexpr bool kChecks = true;

  // `elsewhere` is a payload whose bytes, so many, are not in memory.
  explicit Measure(const Bytes* elsewhere = nullptr, std::size_t size_elsewhere = 0)
      : elsewhere_(elsewhere), size_elsewhere_(size_elsewhere) {}

  std::size_t size_of(const Bytes& bytes) const {
    return &bytes == elsewhere_ ? size_elsewhere_ : bytes.size();
  }
  void raw(std::span<const std::byte> bytes) { size_ += bytes.size(); }
  void byte(u8) { ++size_; }
  void payload(const Bytes& bytes) {
    if (&bytes == elsewhere_)
      return;
    if (detached_ == nullptr && bytes.size() >= kMinDetached)
      detached_ = &bytes;
    raw(bytes.span());
  }
  void require(bool is_valid, const char* what) {
    if (!is_valid && problem_ == nullptr)
      problem_ = what;
  }

  std::size_t size() const { return size_; }
  const char* problem() const { return problem_; }
  const Bytes* detached() const { return detached_; }

 private:
  const Bytes* elsewhere_;
  std::size_t size_elsewhere_;
  std::size_t size_ = 0;
  const char* problem_ = nullptr;
  const Bytes* detached_ = nullptr;
};

// Second pass: into space that is known to suffice.
class Write {
 public:
  static constexpr bool kChecks = false;

  // The payload `left_out` is not written; position_of_left_out() says where it belongs.
  // It has `size_elsewhere` bytes if they are not in it.
  explicit Write(std::byte* at, const Bytes* left_out = nullptr, std::size_t size_elsewhere = 0)
      : begin_(at), at_(at), left_out_(left_out), size_elsewhere_(size_elsewhere) {}

  std::size_t size_of(const Bytes& bytes) const {
    return &bytes == left_out_ && size_elsewhere_ > 0 ? size_elsewhere_ : bytes.size();
  }

  void raw(std::span<const std::byte> bytes) {
    if (!bytes.empty())
      at_ = std::copy(bytes.begin(), bytes.end(), at_);
  }
  void byte(u8 value) { *at_++ = std::byte{value}; }
  void payload(const Bytes& bytes) {
    if (&bytes == left_out_)
      position_of_left_out_ = static_cast<std::size_t>(at_ - begin_);
    else
      raw(bytes.span());
  }
  void require(bool, const char*) {}

  std::size_t position_of_left_out() const { return position_of_left_out_; }

 private:
  std::byte* begin_;
  std::byte* at_;
  const Bytes* left_out_;
  std::size_t size_elsewhere_;
  std::size_t position_of_left_out_ = 0;
};

template <class Sink>
class Encoder {
 public:
  explicit Encoder(Sink& sink) : sink_(sink) {}

  void put(const Unit&) {}
  void put(const bool& value) { sink_.byte(value ? 1 : 0); }
  void put(const u8& value) { sink_.byte(value); }
  void put(const u16& value) { put_varint(value); }
  void put(const u32& value) { put_varint(value); }
  void put(const u64& value) { put_varint(value); }
  void put(const i32& value) {
    const auto bits = static_cast<u32>(value);
    put_varint((bits << 1) ^ (value < 0 ? ~u32{0} : 0));
  }
  void put(const i64& value) {
    const auto bits = static_cast<u64>(value);
    put_varint((bits << 1) ^ (value < 0 ? ~u64{0} : 0));
  }
  void put(const u128& value) {
    if (value <= ~u64{0}) {
      put_varint(static_cast<u64>(value));
    } else {
      sink_.byte(0xFE);
      sink_.raw(std::as_bytes(std::span(&value, 1)));  // little endian machines only
    }
  }

  void put(const Uid& uid) {
    u128 number = 0;
    for (const u8 byte : uid.bytes)
      number = number << 8 | byte;
    put(number);
  }
  void put(const Ip& ip) {
    put_varint(ip.is_v6 ? 1 : 0);
    sink_.raw(std::as_bytes(std::span(ip.octets)).first(ip.length()));
  }
  void put(const SockAddr& address) {
    put(address.ip);
    put(address.port);
  }
  void put(const Bytes& bytes) {
    put_varint(sink_.size_of(bytes));
    sink_.payload(bytes);
  }
  void put(const std::string& text) {
    if constexpr (Sink::kChecks)
      sink_.require(is_utf8(text), "text is not UTF-8");
    put_text(text);
  }
  void put(const Path& path) {
    if constexpr (Sink::kChecks)
      sink_.require(is_utf8(path.value), "path is not UTF-8");
    put_text(path.value);
  }
  void put(const SemVer& version) {
    const std::string text = version.to_string();
    if constexpr (Sink::kChecks)
      sink_.require(SemVer::parse(text) == version, "not a semantic version");
    put_text(text);
  }
  void put(const HttpMethod& method) {
    if constexpr (Sink::kChecks)
      sink_.require(is_http_token(method.text), "not an HTTP method");
    put_text(method.text);
  }
  void put(const HttpUri& uri) {
    if constexpr (Sink::kChecks)
      sink_.require(is_utf8(uri.text) && normalize_uri(uri.text), "not a URI");
    put_text(uri.text);
  }
  void put(const HttpVersion& version) { put_text(to_string(version)); }
  void put(const HttpStatus& status) {
    sink_.require(status.code >= 100 && status.code <= 999, "not an HTTP status");
    put(status.code);
  }
  void put(const HttpHeaders& headers) {
    put_varint(headers.entries.size());
    sink_.require(headers.entries.size() <= kMaxHeaderNames, "too many HTTP headers");
    for (const auto& [name, values] : headers.entries) {
      sink_.require(is_header_name(name) && !values.empty(), "invalid HTTP header");
      put_text(name);
      put_varint(values.size());
      for (const std::string& value : values) {
        sink_.require(is_header_value(value), "invalid HTTP header value");
        put_text(value);
      }
    }
  }

  template <class T>
  void put(const std::vector<T>& list) {
    put_varint(list.size());
    for (const T& element : list)
      put(element);
  }
  template <class T>
  void put(const Set<T>& set) {
    put(static_cast<const std::vector<T>&>(set));
  }
  template <class K, class V>
  void put(const Map<K, V>& map) {
    put_varint(map.size());
    for (const auto& [key, value] : map) {
      put(key);
      put(value);
    }
  }
  template <class T, std::size_t N>
  void put(const std::array<T, N>& array) {
    for (const T& element : array)
      put(element);
  }
  template <class T>
  void put(const std::optional<T>& value) {
    sink_.byte(value ? 1 : 0);
    if (value)
      put(*value);
  }
  template <class T>
  void put(const Res<T>& result) {
    put_varint(result ? 0 : 1);
    if (result)
      put(*result);
    else
      put(result.error());
  }
  template <WireEnum T>
  void put(const T& value) {
    put_varint(value.index());
    value.visit([this](const auto& payload) { this->put(payload); });
  }
  template <class T>
  void put(const T& value) {
    static_assert(std::is_aggregate_v<T> && !WireEnum<T>);
    detail::with_fields(value, [this](const auto&... field) { (this->put(field), ...); });
  }

 private:
  void put_text(std::string_view text) {
    put_varint(text.size());
    sink_.raw(std::as_bytes(std::span(text)));
  }

  // The shortest form. Integers are little endian on the wire and on every machine this runs on.
  void put_varint(u64 value) {
    if (value <= 250) {
      sink_.byte(static_cast<u8>(value));
    } else if (value <= 0xFFFF) {
      sink_.byte(0xFB);
      sink_.raw(std::as_bytes(std::span(&value, 1)).first(2));
    } else if (value <= 0xFFFFFFFF) {
      sink_.byte(0xFC);
      sink_.raw(std::as_bytes(std::span(&value, 1)).first(4));
    } else {
      sink_.byte(0xFD);
      sink_.raw(std::as_bytes(std::span(&value, 1)));
    }
  }

  Sink& sink_;
};

template <class Message>
std::expected<Measure, EncodeError> measure(const Message& message, Measure sink = Measure()) {
  Encoder(sink).put(message);
  if (sink.problem() != nullptr)
    return std::unexpected(EncodeError{sink.problem()});
  return sink;
}

template <class Message>
std::expected<void, EncodeError> encode_whole(const Message& message, Bytes& out) {
  const auto measured = measure(message);
  if (!measured)
    return std::unexpected(measured.error());
  const auto space = out.extend(measured->size());
  Write sink(space.data());
  Encoder(sink).put(message);
  return {};
}

template <class Message>
std::expected<OutgoingMessage, EncodeError> encode_in_parts(Message& message) {
  const auto measured = measure(message);
  if (!measured)
    return std::unexpected(measured.error());
  const Bytes* detached = measured->detached();
  OutgoingMessage out;
  const auto space = out.frame.extend(measured->size() - (detached ? detached->size() : 0));
  Write sink(space.data(), detached);
  Encoder(sink).put(message);
  out.split = detached ? sink.position_of_left_out() : out.frame.size();
  // The caller gave the message away, so its payload may be moved out of it.
  if (detached != nullptr)
    out.payload = std::move(const_cast<Bytes&>(*detached));
  return out;
}

template <class Message>
std::expected<OutgoingMessage, EncodeError> encode_frame(const Message& message,
                                                         const Bytes& payload, std::size_t size) {
  const auto measured = measure(message, Measure(&payload, size));
  if (!measured)
    return std::unexpected(measured.error());
  OutgoingMessage out;
  const auto space = out.frame.extend(measured->size());
  Write sink(space.data(), &payload, size);
  Encoder(sink).put(message);
  out.split = sink.position_of_left_out();
  return out;
}

}  // namespace

std::expected<std::size_t, EncodeError> encoded_size(const ClientMessage& message) {
  const auto measured = measure(message);
  if (!measured)
    return std::unexpected(measured.error());
  return measured->size();
}

std::expected<std::size_t, EncodeError> encoded_size(const DaemonMessage& message) {
  const auto measured = measure(message);
  if (!measured)
    return std::unexpected(measured.error());
  return measured->size();
}

std::expected<void, EncodeError> encode(const ClientMessage& message, Bytes& out) {
  return encode_whole(message, out);
}

std::expected<void, EncodeError> encode(const DaemonMessage& message, Bytes& out) {
  return encode_whole(message, out);
}

std::expected<OutgoingMessage, EncodeError> encode_around(const ClientMessage& message,
                                                          const Bytes& payload, std::size_t size) {
  return encode_frame(message, payload, size);
}

std::expected<OutgoingMessage, EncodeError> encode_around(const DaemonMessage& message,
                                                          const Bytes& payload, std::size_t size) {
  return encode_frame(message, payload, size);
}

std::expected<OutgoingMessage, EncodeError> encode_parts(ClientMessage&& message) {
  return encode_in_parts(message);
}

std::expected<OutgoingMessage, EncodeError> encode_parts(DaemonMessage&& message) {
  return encode_in_parts(message);
}

}  // namespace mirrord::proto
