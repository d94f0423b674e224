// applets/config/schema.cpp — writes the table of keys as a JSON schema and as Markdown.
#include "applets/config/schema.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "applets/config/keys.h"
#include "k8s/json.h"

namespace mirrord::config {
namespace {

using k8s::Json;

std::vector<std::string_view> split(std::string_view text, std::string_view separator) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; at != std::string_view::npos && !text.empty();) {
    at = text.find(separator);
    parts.push_back(text.substr(0, at));
    text.remove_prefix(at == std::string_view::npos ? text.size() : at + separator.size());
  }
  return parts;
}

// What stands directly below `path` in the table: `NAME` of "path.NAME".
std::vector<const Key*> children(std::string_view path) {
  std::vector<const Key*> found;
  const std::size_t skip = path.empty() ? 0 : path.size() + 1;
  for (const Key& key : all_keys()) {
    const bool is_below = path.empty() || (key.path.size() > skip && key.path.starts_with(path) &&
                                           key.path[path.size()] == '.');
    if (is_below && key.path.substr(skip).find('.') == std::string_view::npos)
      found.push_back(&key);
  }
  return found;
}

std::string_view last_part(std::string_view path) {
  return path.substr(path.rfind('.') + 1);
}

Json schema_of(const Key& key);

// An object whose members are the keys below `path`. `is_open`: and any others.
Json object_schema(const std::string& path, bool is_open) {
  Json properties = Json::object();
  Json others = Json(is_open);
  for (const Key* child : children(path)) {
    if (last_part(child->path) == "{}")
      others = schema_of(*child);
    else
      properties.set(last_part(child->path), schema_of(*child));
  }
  Json schema = Json::object({{"type", "object"}});
  if (properties.view().size() > 0)
    schema.set("properties", std::move(properties));
  schema.set("additionalProperties", std::move(others));
  return schema;
}

Json integer(std::int64_t least, std::optional<std::int64_t> most) {
  Json schema = Json::object({{"type", "integer"}, {"minimum", least}});
  if (most)
    schema.set("maximum", *most);
  return schema;
}

Json words_schema(const Key& key) {
  Json schema = Json::object({{"type", "string"}});
  if (!key.words.empty()) {
    Json words = Json::array();
    for (const std::string_view word : split(key.words, "|"))
      words.push(word);
    schema.set("enum", std::move(words));
  }
  return schema;
}

// One alternative of a key's type (keys.h).
Json alternative(const Key& key, std::string_view type) {
  if (type == "bool")
    return Json::object({{"type", "boolean"}});
  if (type == "u16")
    return integer(0, UINT16_MAX);
  if (type == "u32")
    return integer(0, UINT32_MAX);
  if (type == "i64")
    return Json::object({{"type", "integer"}});
  if (type == "u64" || type == "i32")  // no key of the latter takes a negative number
    return integer(0, type == "i32" ? std::optional<std::int64_t>(INT32_MAX) : std::nullopt);
  if (type == "\"infinite\"")
    return Json::object({{"const", "infinite"}});
  if (type == "null")
    return Json::object({{"type", "null"}});
  if (type == "[u16,u16]") {
    return Json::object(
        {{"type", "array"}, {"items", integer(0, UINT16_MAX)}, {"minItems", 2}, {"maxItems", 2}});
  }
  if (type.ends_with("[]")) {
    const std::string_view element = type.substr(0, type.size() - 2);
    const std::string below = std::string(key.path) + "[]";
    Json items = element == "object" ? object_schema(below, children(below).empty())
                                     : alternative(key, element);
    return Json::object({{"type", "array"}, {"items", std::move(items)}});
  }
  if (type.starts_with("map<")) {
    if (!children(key.path).empty())
      return object_schema(std::string(key.path), false);
    Json values = type.ends_with(",string>") ? Json::object({{"type", "string"}}) : Json(true);
    return Json::object({{"type", "object"}, {"additionalProperties", std::move(values)}});
  }
  if (type == "object") {
    const bool is_open = (key.marks & kFree) != 0 || children(key.path).empty();
    return object_schema(std::string(key.path), is_open);
  }
  if (type == "param_source" || type == "quantity")
    return Json::object({{"type", Json::array({"string", "number", "object"})}});
  return words_schema(key);  // string, path, ip, socket_addr
}

std::string description(const Key& key) {
  std::string text(key.meaning);
  const auto add = [&text](std::string_view sentence) {
    text += (text.empty() ? "" : "; ") + std::string(sentence);
  };
  if ((key.marks & kOperator) != 0)
    add("needs the operator");
  if ((key.marks & kUnstable) != 0)
    add("unstable");
  return text;
}

Json default_value(const Key& key) {
  if (key.type == "bool")
    return key.default_text == "true";
  std::int64_t number = 0;
  const char* end = key.default_text.data() + key.default_text.size();
  const auto [stopped, error] = std::from_chars(key.default_text.data(), end, number);
  if (error == std::errc() && stopped == end && key.type.find("string") == std::string_view::npos)
    return number;
  return key.default_text;
}

Json schema_of(const Key& key) {
  std::vector<std::string_view> types = split(key.type, " | ");
  // Null is like leaving it out.
  if (std::ranges::find(types, "null") == types.end())
    types.emplace_back("null");
  Json schema = Json::object();
  if (types.size() == 1) {
    schema = alternative(key, types.front());
  } else {
    Json all = Json::array();
    for (const std::string_view type : types)
      all.push(alternative(key, type));
    schema.set("anyOf", std::move(all));
  }
  if (const std::string text = description(key); !text.empty())
    schema.set("description", text);
  if (!key.default_text.empty())
    schema.set("default", default_value(key));
  if ((key.marks & kDeprecated) != 0)
    schema.set("deprecated", true);
  return schema;
}

// With line breaks, so that a change is seen in a diff.
std::string indented(std::string_view compact) {
  std::string out;
  std::string margin = "\n";
  bool is_in_text = false;
  for (std::size_t i = 0; i < compact.size(); ++i) {
    const char letter = compact[i];
    if (is_in_text) {
      out += letter;
      if (letter == '\\')
        out += compact[++i];
      is_in_text = letter != '"';
    } else if (letter == '"') {
      out += letter;
      is_in_text = true;
    } else if ((letter == '{' || letter == '[') && compact[i + 1] != '}' && compact[i + 1] != ']') {
      margin += "  ";
      out += letter + margin;
    } else if ((letter == '}' || letter == ']') && compact[i - 1] != '{' && compact[i - 1] != '[') {
      margin.resize(margin.size() - 2);
      out += margin + letter;
    } else {
      out += letter;
      if (letter == ',')
        out += margin;
      else if (letter == ':')
        out += ' ';
    }
  }
  return out + "\n";
}

std::string cell(std::string_view text, bool is_code) {
  if (text.empty())
    return " ";
  std::string out = is_code ? " `" : " ";
  for (const char letter : text)
    out += letter == '|' ? std::string("\\|") : std::string(1, letter);
  return out + (is_code ? "` " : " ");
}

std::string heading(std::string_view title) {
  return "\n## " + std::string(title) +
         "\n\n| Key | Type | Default | Environment | Flag | Meaning |\n"
         "| --- | --- | --- | --- | --- | --- |\n";
}

std::string row(const Key& key) {
  std::string meaning = description(key);
  if ((key.marks & kDeprecated) != 0)
    meaning += (meaning.empty() ? "" : "; ") + std::string("deprecated");
  std::string type(key.type);
  if (!key.words.empty())
    type += ": " + std::string(key.words);
  return "|" + cell(key.path, true) + "|" + cell(type, true) + "|" + cell(key.default_text, true) +
         "|" + cell(key.environment, true) + "|" + cell(key.flag, true) + "|" +
         cell(meaning, false) + "|\n";
}

}  // namespace

std::string json_schema() {
  Json schema = Json::object(
      {{"$schema", "http://json-schema.org/draft-07/schema#"}, {"title", "mirrord configuration"}});
  schema.merge(object_schema("", false).view());
  Json properties = Json(schema["properties"]);
  properties.set("$schema", Json::object({{"type", "string"}}));
  schema.set("properties", std::move(properties));
  return indented(schema.dump());
}

std::string key_reference() {
  std::string out =
      "# Configuration\n"
      "\n"
      "Every key, from the table in `applets/config/keys.cpp` (written by `mirrord config "
      "reference`;\n"
      "`mirrord config schema` writes the same for editors). `[]` stands for any element of a "
      "list, `{}` for any\n"
      "name. A flag comes before the environment, the environment before the file, the file before "
      "the\n"
      "default.\n" +
      heading("At the top");
  for (const Key& key : all_keys()) {
    if (key.path.find('.') == std::string_view::npos && children(key.path).empty())
      out += row(key);
  }
  std::string_view part;
  for (const Key& key : all_keys()) {
    const std::string_view top = key.path.substr(0, key.path.find('.'));
    if (children(top).empty())
      continue;
    const std::size_t end =
        top == "feature" ? key.path.find_first_of(".[", top.size() + 1) : top.size();
    const std::string_view group = key.path.substr(0, end);
    if (group != part)
      out += heading(part = group);
    out += row(key);
  }
  return out;
}

}  // namespace mirrord::config
