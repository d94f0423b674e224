// proto/json.h — messages as JSON text for people and tests, and back from parsed JSON.
//
// Structs are objects, positional structs arrays; a case without payload is its name, any other
// {"Name": payload}; results are {"Ok": …} or {"Err": …}; absent values null; byte strings
// {"bytes_hex": "…"}; integers from 2^53 on and all u128 decimal strings; addresses, versions and
// UUIDs text; headers [[name, [value, …]], …] with values as text, or byte strings unless they are
// printable ASCII or tabs; sets sorted arrays; maps objects.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "proto/client_message.h"
#include "proto/daemon_message.h"

namespace mirrord::proto {

std::string to_json(const ClientMessage& message);
std::string to_json(const DaemonMessage& message);

// A parsed JSON text, filled in by whichever parser the caller uses.
struct JsonValue {
  enum class Kind { kNull, kBool, kNumber, kString, kArray, kObject };

  Kind kind = Kind::kNull;
  bool boolean = false;
  double number = 0;
  std::string text;
  std::vector<JsonValue> items;    // of an array, or the values of an object
  std::vector<std::string> names;  // of an object: names[i] is the key of items[i]

  const JsonValue* find(std::string_view name) const;
};

// The reverse of to_json(); the error says what is wrong and where.
[[nodiscard]] std::expected<void, std::string> from_json(const JsonValue& json, ClientMessage& out);
[[nodiscard]] std::expected<void, std::string> from_json(const JsonValue& json, DaemonMessage& out);

}  // namespace mirrord::proto
