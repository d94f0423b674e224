// proto/to_json.cpp — messages as JSON text.
#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "proto/json.h"
#include "proto/reflect.h"
#include "proto/text.h"

namespace mirrord::proto {

namespace {

constexpr u64 kMaxExact = (u64{1} << 53) - 1;

std::string to_decimal(u128 value) {
  std::string digits;
  do {
    digits += static_cast<char>('0' + static_cast<int>(value % 10));
    value /= 10;
  } while (value != 0);
  std::reverse(digits.begin(), digits.end());
  return digits;
}

bool is_printable_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return c == '\t' || (c >= 0x20 && c < 0x7F); });
}

class Renderer {
 public:
  std::string take() { return std::move(out_); }

  void put(const Unit&) { out_ += "null"; }
  void put(const bool& value) { out_ += value ? "true" : "false"; }
  void put(const u8& value) { out_ += std::to_string(value); }
  void put(const u16& value) { out_ += std::to_string(value); }
  void put(const u32& value) { out_ += std::to_string(value); }
  void put(const i32& value) { out_ += std::to_string(value); }
  void put(const u64& value) { put_integer(value <= kMaxExact, std::to_string(value)); }
  void put(const i64& value) {
    const auto limit = static_cast<i64>(kMaxExact);
    put_integer(value <= limit && value >= -limit, std::to_string(value));
  }
  void put(const u128& value) { put_integer(false, to_decimal(value)); }
  void put(const std::string& text) { append_json_string(out_, text); }
  void put(const Path& path) { put(path.value); }
  void put(const Uid& uid) { put(uid.to_string()); }
  void put(const Ip& ip) { put(ip.to_string()); }
  void put(const SockAddr& address) { put(address.to_string()); }
  void put(const SemVer& version) { put(version.to_string()); }
  void put(const HttpMethod& method) { put(method.text); }
  void put(const HttpUri& uri) { put(uri.text); }
  void put(const HttpVersion& version) { append_json_string(out_, to_string(version)); }
  void put(const HttpStatus& status) { put(status.code); }
  void put(const Bytes& bytes) { put_hex(bytes.text()); }
  void put(const HttpHeaders& headers) {
    put_list(headers.entries, [this](const HttpHeader& header) {
      out_ += '[';
      put(header.name);
      out_ += ", ";
      put_list(header.values, [this](const std::string& value) {
        if (is_printable_ascii(value))
          put(value);
        else
          put_hex(value);
      });
      out_ += ']';
    });
  }

  template <class T>
  void put(const std::vector<T>& list) {
    put_list(list, [this](const T& element) { put(element); });
  }
  template <class T, std::size_t N>
  void put(const std::array<T, N>& array) {
    put_list(array, [this](const T& element) { put(element); });
  }
  template <class T>
  void put(const Set<T>& set) {
    std::vector<T> sorted = set;
    std::sort(sorted.begin(), sorted.end());
    put(sorted);
  }
  template <class V>
  void put(const Map<std::string, V>& map) {
    auto sorted = map;
    std::sort(sorted.begin(), sorted.end());
    out_ += '{';
    for (const auto& [key, value] : sorted) {
      put_key(key);
      put(value);
    }
    out_ += '}';
  }
  template <class T>
  void put(const std::optional<T>& value) {
    if (value)
      put(*value);
    else
      out_ += "null";
  }
  template <class T>
  void put(const Res<T>& result) {
    out_ += result ? "{\"Ok\": " : "{\"Err\": ";
    if (result)
      put(*result);
    else
      put(result.error());
    out_ += '}';
  }
  template <WireEnum T>
  void put(const T& value) {
    value.visit([&](const auto& payload) { this->put_payload(value.name(), payload); });
  }
  template <class T>
  void put(const T& value) {
    static_assert(std::is_aggregate_v<T> && !WireEnum<T>);
    out_ += Positional<T> ? '[' : '{';
    detail::with_fields(value, [this](const auto&... field) {
      std::size_t index = 0;
      (this->put_field<T>(index++, field), ...);
    });
    out_ += Positional<T> ? ']' : '}';
  }

 private:
  void put_payload(std::string_view name, const Unit&) { append_json_string(out_, name); }
  template <class Payload>
  void put_payload(std::string_view name, const Payload& payload) {
    out_ += '{';
    put_key(name);
    put(payload);
    out_ += '}';
  }
  template <class T, class Field>
  void put_field(std::size_t index, const Field& field) {
    if constexpr (Positional<T>)
      put_separator();
    else
      put_key(kFieldNames<T>[index]);
    put(field);
  }
  template <class List, class PutElement>
  void put_list(const List& list, PutElement put_element) {
    out_ += '[';
    for (const auto& element : list) {
      put_separator();
      put_element(element);
    }
    out_ += ']';
  }

  void put_separator() {
    if (!out_.ends_with('[') && !out_.ends_with('{'))
      out_ += ", ";
  }
  void put_key(std::string_view name) {
    put_separator();
    append_json_string(out_, name);
    out_ += ": ";
  }
  void put_hex(std::string_view bytes) {
    out_ += "{\"bytes_hex\": \"";
    append_hex(out_, bytes);
    out_ += "\"}";
  }
  void put_integer(bool is_exact, const std::string& digits) {
    out_ += is_exact ? digits : '"' + digits + '"';
  }

  std::string out_;
};

}  // namespace

std::string to_json(const ClientMessage& message) {
  Renderer renderer;
  renderer.put(message);
  return renderer.take();
}

std::string to_json(const DaemonMessage& message) {
  Renderer renderer;
  renderer.put(message);
  return renderer.take();
}

}  // namespace mirrord::proto
