// k8s/json.h — a JSON value as the Kubernetes API speaks it: parsed, walked without checks at every
// step, and built from nested braces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "net/error.h"

struct cJSON;

namespace mirrord::k8s {

// A look at a part of a Json that must outlive it. A part that is not there is absent, and so is
// every part of an absent one: object["status"]["podIPs"].at(0)["ip"].text().
class JsonView {
 public:
  JsonView() = default;
  explicit JsonView(const cJSON* node) : node_(node) {}

  [[nodiscard]] JsonView operator[](std::string_view key) const;  // of an object
  [[nodiscard]] JsonView at(std::size_t index) const;             // of an array
  [[nodiscard]] bool is_present() const;                          // there, and not null
  [[nodiscard]] bool is_object() const;
  [[nodiscard]] bool is_array() const;
  [[nodiscard]] bool is_string() const;
  [[nodiscard]] std::string_view text(std::string_view otherwise = {}) const;
  [[nodiscard]] std::int64_t number(std::int64_t otherwise = 0) const;
  [[nodiscard]] bool boolean(bool otherwise = false) const;
  [[nodiscard]] std::string_view key() const;  // of a member of an object
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::string dump() const;  // compact
  [[nodiscard]] const cJSON* node() const { return node_; }

  // Over the items of an array or the members of an object.
  class Iterator {
   public:
    explicit Iterator(const cJSON* node) : node_(node) {}
    JsonView operator*() const { return JsonView(node_); }
    Iterator& operator++();
    bool operator==(const Iterator&) const = default;

   private:
    const cJSON* node_;
  };
  [[nodiscard]] Iterator begin() const;
  [[nodiscard]] static Iterator end() { return Iterator(nullptr); }

 private:
  const cJSON* node_ = nullptr;
};

// Owns a value. Copies are deep.
class Json {
 public:
  using Member = std::pair<std::string_view, Json>;

  Json();                         // null
  Json(std::string_view text);    // NOLINT(google-explicit-constructor): for the builders
  Json(const char* text);         // NOLINT(google-explicit-constructor)
  Json(const std::string& text);  // NOLINT(google-explicit-constructor)
  Json(bool value);               // NOLINT(google-explicit-constructor)
  Json(int value);                // NOLINT(google-explicit-constructor)
  Json(std::int64_t value);       // NOLINT(google-explicit-constructor)
  explicit Json(JsonView part);   // a copy
  ~Json();
  Json(const Json& other);
  Json(Json&& other) noexcept;
  Json& operator=(Json other) noexcept;

  static Json object(std::initializer_list<Member> members = {});
  static Json array(std::initializer_list<Json> items = {});
  // Nesting and size are bounded by the parser. `what` names the text in the error.
  static Result<Json> parse(std::string_view text, std::string_view what);

  void set(std::string_view key, Json value);  // of an object: adds or replaces
  void add(std::string_view key, Json value);  // of an object: a key that it does not have yet
  void push(Json item);                        // of an array
  void merge(JsonView other);                  // of an object: every member of `other`, replacing

  [[nodiscard]] JsonView view() const { return JsonView(node_); }
  [[nodiscard]] JsonView operator[](std::string_view key) const { return view()[key]; }
  [[nodiscard]] std::string dump() const { return view().dump(); }

 private:
  explicit Json(cJSON* owned) : node_(owned) {}
  cJSON* release();
  cJSON* node_;
};

}  // namespace mirrord::k8s
