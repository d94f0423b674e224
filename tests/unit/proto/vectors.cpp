// tests/unit/proto/vectors.cpp — reads the golden vectors.
#include "tests/unit/proto/vectors.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

namespace mirrord::proto {

Json parse_json(const std::string& text) {
  return Json(cJSON_ParseWithLength(text.data(), text.size()));
}

Json load_vectors(const std::string& file) {
  const std::string path = std::string(MIRRORD_VECTORS) + "/" + file;
  std::FILE* stream = std::fopen(path.c_str(), "rb");
  std::string text;
  if (stream != nullptr) {
    char block[65536];
    for (std::size_t n = 0; (n = std::fread(block, 1, sizeof block, stream)) > 0;)
      text.append(block, n);
    std::fclose(stream);
  }
  Json json = parse_json(text);
  EXPECT_TRUE(cJSON_IsArray(json.get())) << path;
  return json;
}

std::string json_text(const cJSON* json) {
  char* raw = cJSON_PrintUnformatted(json);
  std::string text = raw ? raw : "";
  cJSON_free(raw);
  return text;
}

std::string text_of(const cJSON* object, const char* name) {
  const char* text = cJSON_GetStringValue(member(object, name));
  return text ? text : "";
}

std::string bytes_of(const cJSON* vector) {
  const cJSON* runs = member(vector, "hex_rle");
  if (runs == nullptr)
    return parse_hex(text_of(vector, "hex")).value();
  std::string out;
  for (const cJSON* run = runs->child; run != nullptr; run = run->next) {
    const auto part = parse_hex(run->child->valuestring).value();
    for (int i = 0; i < run->child->next->valueint; ++i)
      out += part;
  }
  return out;
}

namespace {

// In place: a node that stands for repetition becomes what it stands for. A repeated byte is a
// byte string, but plain text where the message has text (the name of a GetAddrInfoRequest).
void expand_node(cJSON* node) {
  for (cJSON* child = node->child; child != nullptr;) {
    cJSON* next = child->next;
    const cJSON* count = member(child, "count");
    cJSON* replacement = nullptr;
    if (count != nullptr && member(child, "byte") != nullptr) {
      const std::string digits = text_of(child, "byte");
      std::string all;
      for (int i = 0; i < count->valueint; ++i)
        all += digits;
      if (std::string_view(child->string) == "node") {
        replacement = cJSON_CreateString(parse_hex(all).value().c_str());
      } else {
        replacement = cJSON_CreateObject();
        cJSON_AddStringToObject(replacement, "bytes_hex", all.c_str());
      }
    } else if (count != nullptr && member(child, "repeat") != nullptr) {
      replacement = cJSON_CreateArray();
      for (int i = 0; i < count->valueint; ++i)
        cJSON_AddItemToArray(replacement, cJSON_Duplicate(member(child, "repeat"), true));
    }
    if (replacement == nullptr)
      expand_node(child);
    else if (child->string != nullptr)
      cJSON_ReplaceItemInObjectCaseSensitive(node, std::string(child->string).c_str(), replacement);
    else
      cJSON_ReplaceItemViaPointer(node, child, replacement);
    child = next;
  }
}

}  // namespace

Json expand(const cJSON* value) {
  Json copy(cJSON_Duplicate(value, true));
  expand_node(copy.get());
  return copy;
}

bool same_json(const std::string& text, const cJSON* expected) {
  const Json actual = parse_json(text);
  return actual != nullptr && cJSON_Compare(actual.get(), expected, true);
}

JsonValue to_value(const cJSON* json) {
  JsonValue value;
  using Kind = JsonValue::Kind;
  if (cJSON_IsBool(json)) {
    value.kind = Kind::kBool;
    value.boolean = cJSON_IsTrue(json) != 0;
  } else if (cJSON_IsNumber(json)) {
    value.kind = Kind::kNumber;
    value.number = json->valuedouble;
  } else if (cJSON_IsString(json)) {
    value.kind = Kind::kString;
    value.text = json->valuestring;
  } else if (cJSON_IsArray(json)) {
    value.kind = Kind::kArray;
    for (const cJSON* item = json->child; item != nullptr; item = item->next)
      value.items.push_back(to_value(item));
  } else if (cJSON_IsObject(json)) {
    value.kind = Kind::kObject;
    for (const cJSON* item = json->child; item != nullptr; item = item->next)
      value.members.emplace_back(item->string, to_value(item));
  }
  return value;
}

}  // namespace mirrord::proto
