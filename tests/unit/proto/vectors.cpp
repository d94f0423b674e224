// tests/unit/proto/vectors.cpp — reads the golden vectors.
#include "tests/unit/proto/vectors.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "applets/wire_json.h"

namespace mirrord::proto {

Json parse_marked(const std::string& text) {
  return Json(cJSON_Parse(mark_nul_characters(text).c_str()));
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
  Json json = parse_marked(text);
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
  const Json actual = parse_marked(text);
  return actual != nullptr && cJSON_Compare(actual.get(), expected, true);
}

}  // namespace mirrord::proto
