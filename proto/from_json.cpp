// proto/from_json.cpp — messages from parsed JSON, the reverse of to_json.cpp.
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <string>

#include "proto/json.h"
#include "proto/reflect.h"
#include "proto/text.h"

namespace mirrord::proto {

namespace {

using Kind = JsonValue::Kind;

// get() fills a value and returns false at the first problem; on the way out every level puts its
// own name in front of the problem's path.
class Reader {
 public:
  std::string problem() const { return (path_.empty() ? "message" : path_) + ": " + what_; }

  bool get(const JsonValue& json, Unit&) {
    return json.kind == Kind::kNull || fail("expected null");
  }
  bool get(const JsonValue& json, bool& out) {
    out = json.boolean;
    return json.kind == Kind::kBool || fail("expected true or false");
  }
  bool get(const JsonValue& json, u8& out) { return get_number(json, out); }
  bool get(const JsonValue& json, u16& out) { return get_number(json, out); }
  bool get(const JsonValue& json, u32& out) { return get_number(json, out); }
  bool get(const JsonValue& json, u64& out) { return get_number(json, out); }
  bool get(const JsonValue& json, i32& out) { return get_number(json, out); }
  bool get(const JsonValue& json, i64& out) { return get_number(json, out); }
  bool get(const JsonValue& json, u128& out);

  bool get(const JsonValue& json, std::string& out) {
    out = json.text;
    return json.kind == Kind::kString || fail("expected a string");
  }
  bool get(const JsonValue& json, Path& out) { return get(json, out.value); }
  bool get(const JsonValue& json, Uid& out) { return get_parsed(json, out, "expected a UUID"); }
  bool get(const JsonValue& json, Ip& out) { return get_parsed(json, out, "expected an address"); }
  bool get(const JsonValue& json, SockAddr& out) {
    return get_parsed(json, out, "expected an address with a port");
  }
  bool get(const JsonValue& json, SemVer& out) {
    return get_parsed(json, out, "expected a semantic version");
  }
  bool get(const JsonValue& json, HttpMethod& out) { return get(json, out.text); }
  bool get(const JsonValue& json, HttpUri& out) { return get(json, out.text); }
  bool get(const JsonValue& json, HttpStatus& out) { return get(json, out.code); }
  bool get(const JsonValue& json, HttpVersion& out) {
    const auto version = parse_http_version(json.text);
    out = version.value_or(HttpVersion::kHttp11);
    return version || fail("expected an HTTP version");
  }
  bool get(const JsonValue& json, Bytes& out) {
    std::string raw;
    if (!get_hex(json, raw))
      return false;
    out = Bytes(raw);
    return true;
  }
  bool get(const JsonValue& json, HttpHeaders& out);

  template <class T>
  bool get(const JsonValue& json, std::vector<T>& out) {
    if (json.kind != Kind::kArray)
      return fail("expected an array");
    out.clear();
    for (const JsonValue& item : json.items) {
      out.emplace_back();
      if (!get(item, out.back()))
        return within(std::to_string(out.size() - 1));
    }
    return true;
  }
  template <class T, std::size_t N>
  bool get(const JsonValue& json, std::array<T, N>& out) {
    if (json.kind != Kind::kArray || json.items.size() != N)
      return fail("expected an array of " + std::to_string(N));
    for (std::size_t i = 0; i < N; ++i)
      if (!get(json.items[i], out[i]))
        return within(std::to_string(i));
    return true;
  }
  template <class T>
  bool get(const JsonValue& json, Set<T>& out) {
    return get(json, static_cast<std::vector<T>&>(out));
  }
  template <class V>
  bool get(const JsonValue& json, Map<std::string, V>& out) {
    if (json.kind != Kind::kObject)
      return fail("expected an object");
    out.clear();
    for (std::size_t i = 0; i < json.items.size(); ++i) {
      out.emplace_back(json.names[i], V{});
      if (!get(json.items[i], out.back().second))
        return within(json.names[i]);
    }
    return true;
  }
  template <class T>
  bool get(const JsonValue& json, std::optional<T>& out) {
    if (json.kind == Kind::kNull)
      return out.reset(), true;
    return get(json, out.emplace());
  }
  template <class T>
  bool get(const JsonValue& json, Res<T>& out) {
    if (const JsonValue* ok = only_member(json, "Ok")) {
      out = T{};
      return get(*ok, *out) || within("Ok");
    }
    if (const JsonValue* error = only_member(json, "Err")) {
      out = std::unexpected(ResponseError{});
      return get(*error, out.error()) || within("Err");
    }
    return fail("expected an object with \"Ok\" or \"Err\"");
  }
  template <WireEnum T>
  bool get(const JsonValue& json, T& out) {
    const bool is_bare = json.kind == Kind::kString;
    if (!is_bare && (json.kind != Kind::kObject || json.names.size() != 1))
      return fail("expected the name of a case, or an object with it as only key");
    const std::string& name = is_bare ? json.text : json.names[0];
    for (std::size_t i = 0; i < T::kSize; ++i) {
      if (T::kNames[i] == name) {
        out.reset_to(i);
        const JsonValue nothing;
        const JsonValue& inner = is_bare ? nothing : json.items[0];
        const auto get_payload = [&](auto& payload) { return this->get(inner, payload); };
        return out.visit(get_payload) || within(name);
      }
    }
    return fail("no case \"" + name + "\" in " + std::string(kTypeName<T>));
  }
  template <class T>
  bool get(const JsonValue& json, T& out) {
    static_assert(std::is_aggregate_v<T> && !WireEnum<T>);
    constexpr std::size_t kCount = kFieldNames<T>.size();
    if constexpr (Positional<T>) {
      if (json.kind != Kind::kArray || json.items.size() != kCount)
        return fail("expected an array of " + std::to_string(kCount));
    } else {
      if (json.kind != Kind::kObject)
        return fail("expected an object");
      for (const std::string& name : json.names)
        if (std::find(kFieldNames<T>.begin(), kFieldNames<T>.end(), name) == kFieldNames<T>.end())
          return fail("no field \"" + name + "\"");
    }
    return detail::with_fields(out, [&](auto&... field) {
      std::size_t index = 0;
      return (this->get_field<T>(json, index++, field) && ...);
    });
  }

 private:
  bool fail(std::string what) {
    what_ = std::move(what);
    return false;
  }
  bool within(std::string_view name) {
    path_ = std::string(name) + (path_.empty() ? "" : ".") + path_;
    return false;
  }
  static const JsonValue* only_member(const JsonValue& json, std::string_view name) {
    return json.names.size() == 1 && json.names[0] == name ? &json.items[0] : nullptr;
  }

  // A field that is left out is null, which only optional ones accept.
  template <class T, class Field>
  bool get_field(const JsonValue& json, std::size_t index, Field& field) {
    const JsonValue nothing;
    const JsonValue* value = nullptr;
    if constexpr (Positional<T>)
      value = &json.items[index];
    else
      value = json.find(kFieldNames<T>[index]);
    return get(value ? *value : nothing, field) || within(kFieldNames<T>[index]);
  }
  template <class T>
  bool get_parsed(const JsonValue& json, T& out, const char* expected) {
    auto parsed = json.kind == Kind::kString ? T::parse(json.text) : std::nullopt;
    if (!parsed)
      return fail(expected);
    out = *std::move(parsed);
    return true;
  }
  // Numbers that a double holds exactly, or decimal text.
  template <class T>
  bool get_number(const JsonValue& json, T& out) {
    constexpr double kExact = 9007199254740992;  // 2^53
    if (json.kind == Kind::kNumber && std::trunc(json.number) == json.number &&
        std::abs(json.number) <= kExact) {
      const auto integer = static_cast<i64>(json.number);
      out = static_cast<T>(integer);
      if (std::in_range<T>(integer))
        return true;
    } else if (json.kind == Kind::kString) {
      const char* end = json.text.data() + json.text.size();
      const auto [stop, error] = std::from_chars(json.text.data(), end, out);
      if (!json.text.empty() && stop == end && error == std::errc())
        return true;
    }
    return fail("expected an integer from " + std::to_string(std::numeric_limits<T>::min()) +
                " to " + std::to_string(std::numeric_limits<T>::max()));
  }
  bool get_hex(const JsonValue& json, std::string& out) {
    const JsonValue* digits = only_member(json, "bytes_hex");
    auto raw = digits ? parse_hex(digits->text) : std::nullopt;
    if (!raw)
      return fail("expected {\"bytes_hex\": \"…\"}");
    out = *std::move(raw);
    return true;
  }

  std::string path_;
  std::string what_;
};

bool Reader::get(const JsonValue& json, u128& out) {
  out = 0;
  if (json.kind == Kind::kNumber) {
    u64 small = 0;
    if (!get_number(json, small))
      return false;
    out = small;
    return true;
  }
  constexpr u128 kMax = ~u128{0};
  bool is_valid = json.kind == Kind::kString && !json.text.empty();
  for (const char c : json.text) {
    const auto digit = static_cast<u128>(static_cast<unsigned char>(c - '0'));
    is_valid = is_valid && digit <= 9 && out <= (kMax - digit) / 10;
    out = out * 10 + digit;
  }
  return is_valid || fail("expected an integer of at most 128 bits");
}

bool Reader::get(const JsonValue& json, HttpHeaders& out) {
  if (json.kind != Kind::kArray)
    return fail("expected an array");
  out.entries.clear();
  for (const JsonValue& entry : json.items) {
    if (entry.items.size() != 2 || entry.items[0].kind != Kind::kString)
      return fail("expected [name, [value, …]]");
    for (const JsonValue& value : entry.items[1].items) {
      std::string raw = value.text;
      if (value.kind != Kind::kString && !get_hex(value, raw))
        return within(entry.items[0].text);
      out.add(entry.items[0].text, std::move(raw));
    }
  }
  return true;
}

template <class Message>
std::expected<void, std::string> read_message(const JsonValue& json, Message& out) {
  Reader reader;
  Message message;
  if (!reader.get(json, message))
    return std::unexpected(reader.problem());
  out = std::move(message);
  return {};
}

}  // namespace

const JsonValue* JsonValue::find(std::string_view name) const {
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i] == name)
      return &items[i];
  return nullptr;
}

std::expected<void, std::string> from_json(const JsonValue& json, ClientMessage& out) {
  return read_message(json, out);
}

std::expected<void, std::string> from_json(const JsonValue& json, DaemonMessage& out) {
  return read_message(json, out);
}

}  // namespace mirrord::proto
