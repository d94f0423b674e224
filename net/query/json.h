// net/query/json.h — a JSON value to ask questions about: exact integers, strings with any character.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "net/error.h"

namespace mirrord::net {

// An integer of 64 bits stays what it is; everything else is a double.
class JsonNumber {
 public:
  JsonNumber(double value = 0) : value_(value) {}  // NOLINT(google-explicit-constructor)
  static JsonNumber integer(std::uint64_t magnitude, bool is_negative);
  static JsonNumber integer(std::int64_t value);

  [[nodiscard]] double value() const { return value_; }
  [[nodiscard]] bool is_integer() const { return is_integer_; }
  [[nodiscard]] std::string text() const;  // as serde_json writes it: 1, 1.0, 1e30
  friend bool operator==(const JsonNumber& one, const JsonNumber& other);
  friend bool operator<(const JsonNumber& one, const JsonNumber& other);

 private:
  double value_;
  std::uint64_t magnitude_ = 0;
  bool is_integer_ = false, is_negative_ = false;
};

struct JsonValue {
  struct Null {
    friend bool operator==(Null, Null) = default;
  };
  using Array = std::vector<JsonValue>;
  struct Member;
  using Object = std::vector<Member>;  // each name once, in the text's order

  std::variant<Null, bool, JsonNumber, std::string, Array, Object> data;

  // Nesting deeper than this is refused.
  static constexpr int kDeepest = 128;
  static Result<JsonValue> parse(std::string_view text);

  template <class T>
  [[nodiscard]] const T* as() const {
    return std::get_if<T>(&data);
  }
  [[nodiscard]] bool is_null() const { return as<Null>() != nullptr; }
  [[nodiscard]] const JsonValue* member(std::string_view name) const;  // null: none, or no object
  [[nodiscard]] std::string_view type_name() const;  // null, boolean, number, string, array, object
  [[nodiscard]] std::string dump() const;            // compact
};

// Objects without regard to order.
bool operator==(const JsonValue& one, const JsonValue& other);

struct JsonValue::Member {
  Member(std::string name, JsonValue value) : first(std::move(name)), second(std::move(value)) {}

  std::string first;  // the name
  JsonValue second;
  friend bool operator==(const Member&, const Member&) = default;
};

// Appends a character's UTF-8.
void append_utf8(std::string& text, char32_t code);
// Decodes the character at `at` and moves on; a byte that is not UTF-8 gives U+FFFD.
char32_t next_utf8(std::string_view text, std::size_t& at, bool& is_valid);

}  // namespace mirrord::net
