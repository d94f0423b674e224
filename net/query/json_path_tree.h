// net/query/json_path_tree.h — a parsed JSONPath query: what the parser makes and the evaluator walks.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "net/query/json_path.h"

namespace mirrord::net {

namespace json_path {

struct Expression;

struct Name {
  std::string text;
};
struct Wildcard {};
struct Index {
  std::int64_t at;
};
struct Slice {
  std::optional<std::int64_t> from, to;
  std::int64_t step = 1;
};
struct Filter {
  std::unique_ptr<Expression> condition;
};
using Selector = std::variant<Name, Wildcard, Index, Slice, Filter>;

struct Segment {
  bool is_descendant = false;
  std::vector<Selector> selectors;
};

enum class Function { kLength, kCount, kMatch, kSearch, kValue, kTypeof };

struct Expression {
  enum class Kind {
    kOr,
    kAnd,
    kNot,
    kEqual,
    kUnequal,
    kLess,
    kLessOrEqual,
    kGreater,
    kGreaterOrEqual,
    kLiteral,
    kQuery,     // as a condition: whether it finds anything
    kFunction,  // with `operands` as arguments
  };
  Kind kind = Kind::kLiteral;
  std::vector<Expression> operands;
  JsonValue literal;
  std::shared_ptr<JsonPath::Query> query;
  Function function = Function::kLength;
};

}  // namespace json_path

struct JsonPath::Query {
  bool is_relative = false;  // begins with @
  std::vector<json_path::Segment> segments;

  // At most one node, whatever the document (RFC 9535 §2.3.5.1).
  [[nodiscard]] bool is_singular() const;
};

namespace json_path {

Result<std::unique_ptr<JsonPath::Query>> parse(std::string_view text);

}  // namespace json_path

}  // namespace mirrord::net
