// tests/unit/proto/vectors.h — the golden vectors, and how tests compare messages with them.
#pragma once

#include <cjson/cJSON.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "proto/codec.h"
#include "proto/json.h"
#include "proto/text.h"

namespace mirrord::proto {

struct DeleteJson {
  void operator()(cJSON* json) const { cJSON_Delete(json); }
};
using Json = std::unique_ptr<cJSON, DeleteJson>;

Json load_vectors(const std::string& file);  // of tests/vectors
// With NUL characters marked, so that they do not end texts early.
Json parse_marked(const std::string& text);
std::string json_text(const cJSON* json);

inline const cJSON* member(const cJSON* object, const char* name) {
  return cJSON_GetObjectItemCaseSensitive(object, name);
}
// A string member, "" if there is none.
std::string text_of(const cJSON* object, const char* name);
// The bytes of a vector: "hex", or "hex_rle", a list of [hex, repeat count].
std::string bytes_of(const cJSON* vector);
// Expands {"byte", "count"} and {"repeat", "count"} of the large vectors.
Json expand(const cJSON* value);

bool same_json(const std::string& text, const cJSON* expected);

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}
inline std::string hex(std::string_view bytes) {
  std::string out;
  append_hex(out, bytes);
  return out;
}
template <class Message>
std::string encoded(const Message& message) {
  Bytes out;
  const auto done = encode(message, out);
  return done ? std::string(out.text()) : "error: " + done.error().what;
}

// Calls test(Message()) with the message type that the vector names.
template <class Test>
void with_message(const cJSON* vector, Test test) {
  if (text_of(vector, "message") == "ClientMessage")
    test(ClientMessage());
  else
    test(DaemonMessage());
}

}  // namespace mirrord::proto
