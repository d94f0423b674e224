// k8s/json.cpp — JSON values on cJSON's tree.
#include "k8s/json.h"

#include <cjson/cJSON.h>

#include <cmath>
#include <new>

namespace mirrord::k8s {
namespace {

cJSON* checked(cJSON* node) {
  if (node == nullptr) {
    throw std::bad_alloc();
  }
  return node;
}

cJSON* member(const cJSON* object, std::string_view key) {
  if (!cJSON_IsObject(object)) {
    return nullptr;
  }
  for (cJSON* child = object->child; child != nullptr; child = child->next) {
    if (key == child->string) {
      return child;
    }
  }
  return nullptr;
}

}  // namespace

JsonView JsonView::operator[](std::string_view key) const {
  return JsonView(member(node_, key));
}

JsonView JsonView::at(std::size_t index) const {
  if (!is_array()) {
    return {};
  }
  const cJSON* child = node_->child;
  for (; child != nullptr && index > 0; --index) {
    child = child->next;
  }
  return JsonView(child);
}

bool JsonView::is_present() const {
  return node_ != nullptr && cJSON_IsNull(node_) == 0;
}
bool JsonView::is_object() const {
  return cJSON_IsObject(node_) != 0;
}
bool JsonView::is_array() const {
  return cJSON_IsArray(node_) != 0;
}
bool JsonView::is_string() const {
  return cJSON_IsString(node_) != 0;
}

std::string_view JsonView::text(std::string_view otherwise) const {
  return is_string() ? std::string_view(node_->valuestring) : otherwise;
}

std::int64_t JsonView::number(std::int64_t otherwise) const {
  constexpr double kExact = 9007199254740992.0;  // 2^53: beyond it a double skips integers
  if (cJSON_IsNumber(node_) == 0 || std::abs(node_->valuedouble) > kExact) {
    return otherwise;
  }
  return static_cast<std::int64_t>(node_->valuedouble);
}

bool JsonView::boolean(bool otherwise) const {
  return cJSON_IsBool(node_) != 0 ? cJSON_IsTrue(node_) != 0 : otherwise;
}

std::string_view JsonView::key() const {
  return node_ != nullptr && node_->string != nullptr ? node_->string : std::string_view();
}

std::size_t JsonView::size() const {
  std::size_t count = 0;
  for (Iterator item = begin(); item != end(); ++item) {
    ++count;
  }
  return count;
}

std::string JsonView::dump() const {
  if (node_ == nullptr) {
    return "null";
  }
  char* text = cJSON_PrintUnformatted(node_);
  if (text == nullptr) {
    throw std::bad_alloc();
  }
  std::string copy(text);
  cJSON_free(text);
  return copy;
}

JsonView::Iterator& JsonView::Iterator::operator++() {
  node_ = node_->next;
  return *this;
}

JsonView::Iterator JsonView::begin() const {
  return Iterator(is_object() || is_array() ? node_->child : nullptr);
}

Json::Json() : node_(checked(cJSON_CreateNull())) {}
Json::Json(std::string_view text) : Json(std::string(text)) {}
Json::Json(const char* text) : node_(checked(cJSON_CreateString(text))) {}
Json::Json(const std::string& text) : node_(checked(cJSON_CreateString(text.c_str()))) {}
Json::Json(bool value) : node_(checked(cJSON_CreateBool(value ? 1 : 0))) {}
Json::Json(int value) : node_(checked(cJSON_CreateNumber(value))) {}
Json::Json(std::int64_t value) : node_(checked(cJSON_CreateNumber(static_cast<double>(value)))) {}
Json::Json(JsonView part)
    : node_(
          checked(part.node() == nullptr ? cJSON_CreateNull() : cJSON_Duplicate(part.node(), 1))) {
  // A member's copy keeps its key, which means nothing for a value that stands alone.
  if (node_->string != nullptr && (node_->type & cJSON_StringIsConst) == 0) {
    cJSON_free(node_->string);
    node_->string = nullptr;
  }
}
Json::~Json() {
  cJSON_Delete(node_);
}
Json::Json(const Json& other) : Json(other.view()) {}
Json::Json(Json&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
Json& Json::operator=(Json other) noexcept {
  std::swap(node_, other.node_);
  return *this;
}

cJSON* Json::release() {
  return std::exchange(node_, nullptr);
}

Json Json::object(std::initializer_list<Member> members) {
  Json made(checked(cJSON_CreateObject()));
  for (const auto& [key, value] : members) {
    made.set(key, value);
  }
  return made;
}

Json Json::array(std::initializer_list<Json> items) {
  Json made(checked(cJSON_CreateArray()));
  for (const Json& item : items) {
    made.push(item);
  }
  return made;
}

Result<Json> Json::parse(std::string_view text, std::string_view what) {
  const char* end = nullptr;
  cJSON* node = cJSON_ParseWithLengthOpts(text.data(), text.size(), &end, 0);
  if (node == nullptr) {
    return fail(ErrorCode::kPeer, std::string(what) + " is not valid JSON");
  }
  Json value(node);
  const std::string_view rest = text.substr(static_cast<std::size_t>(end - text.data()));
  if (rest.find_first_not_of(" \t\r\n") != std::string_view::npos) {
    return fail(ErrorCode::kPeer, std::string(what) + " is not valid JSON: something follows it");
  }
  return value;
}

void Json::set(std::string_view key, Json value) {
  const std::string name(key);
  if (member(node_, key) != nullptr) {
    cJSON_ReplaceItemInObjectCaseSensitive(node_, name.c_str(), value.release());
    return;
  }
  cJSON_AddItemToObject(node_, name.c_str(), value.release());
}

void Json::add(std::string_view key, Json value) {
  cJSON_AddItemToObject(node_, std::string(key).c_str(), value.release());
}

void Json::push(Json item) {
  cJSON_AddItemToArray(node_, item.release());
}

void Json::merge(JsonView other) {
  for (const JsonView part : other) {
    set(part.key(), Json(part));
  }
}

}  // namespace mirrord::k8s
