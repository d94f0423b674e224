// net/query/json_path.h — JSONPath (RFC 9535), with one more function: typeof.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "net/error.h"
#include "net/query/effort.h"
#include "net/query/json.h"

namespace mirrord::net {

// All of RFC 9535: selectors, filters, the functions length, count, match, search and value. typeof()
// takes a query and gives "null", "bool", "number", "string", "array" or "object", and "nothing" if
// the nodes are of several types or there are none. Not for several threads at once.
class JsonPath {
 public:
  static constexpr std::size_t kLongest = 16 * 1024;

  // The error says at which character something is wrong. Queries that the RFC calls not well-typed
  // are errors.
  static Result<JsonPath> compile(std::string_view query);
  JsonPath(JsonPath&&) noexcept;
  JsonPath& operator=(JsonPath&&) noexcept;
  ~JsonPath();

  // The nodes, in order; they live as long as `document`. None, and the effort spent, if that takes
  // too long to find out.
  [[nodiscard]] std::vector<const JsonValue*> find(const JsonValue& document, Effort& effort) const;

  struct Query;

 private:
  explicit JsonPath(std::unique_ptr<Query> query);
  std::unique_ptr<Query> query_;
};

}  // namespace mirrord::net
