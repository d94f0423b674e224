// applets/wire_json.cpp — JSON text to values, by way of cJSON.
#include "applets/wire_json.h"

#include <cjson/cJSON.h>

#include <memory>

#include "proto/text.h"

namespace mirrord {

namespace {

using proto::JsonValue;

constexpr std::string_view kNulEscape = "\\u0000";
constexpr std::string_view kNulMark = "\xC0\x80";

struct DeleteJson {
  void operator()(cJSON* json) const { cJSON_Delete(json); }
};

std::string unmark(const char* marked) {
  std::string text(marked);
  for (std::size_t at = 0; (at = text.find(kNulMark, at)) != std::string::npos; ++at)
    text.replace(at, kNulMark.size(), 1, '\0');
  return text;
}

JsonValue to_value(const cJSON* json) {
  JsonValue value;
  if (cJSON_IsBool(json)) {
    value.kind = JsonValue::Kind::kBool;
    value.boolean = cJSON_IsTrue(json) != 0;
  } else if (cJSON_IsNumber(json)) {
    value.kind = JsonValue::Kind::kNumber;
    value.number = json->valuedouble;
  } else if (cJSON_IsString(json)) {
    value.kind = JsonValue::Kind::kString;
    value.text = unmark(json->valuestring);
  } else if (cJSON_IsArray(json)) {
    value.kind = JsonValue::Kind::kArray;
    for (const cJSON* item = json->child; item != nullptr; item = item->next)
      value.items.push_back(to_value(item));
  } else if (cJSON_IsObject(json)) {
    value.kind = JsonValue::Kind::kObject;
    for (const cJSON* item = json->child; item != nullptr; item = item->next) {
      value.names.push_back(unmark(item->string));
      value.items.push_back(to_value(item));
    }
  }
  return value;
}

}  // namespace

std::string mark_nul_characters(std::string_view json) {
  std::string marked;
  marked.reserve(json.size());
  while (!json.empty()) {
    if (json.starts_with(kNulEscape)) {
      marked += kNulMark;
      json.remove_prefix(kNulEscape.size());
      continue;
    }
    const std::size_t length = json.starts_with('\\') && json.size() > 1 ? 2 : 1;
    marked += json.substr(0, length);
    json.remove_prefix(length);
  }
  return marked;
}

std::expected<JsonValue, std::string> parse_json(std::string_view text) {
  if (!proto::is_utf8(text))
    return std::unexpected("not UTF-8");
  const std::string marked = mark_nul_characters(text);
  const char* end = nullptr;
  const std::unique_ptr<cJSON, DeleteJson> json(cJSON_ParseWithOpts(marked.c_str(), &end, true));
  if (json == nullptr)
    return std::unexpected("not JSON from column " + std::to_string(end - marked.c_str() + 1) +
                           " on");
  return to_value(json.get());
}

}  // namespace mirrord
