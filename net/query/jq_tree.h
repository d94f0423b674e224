// net/query/jq_tree.h — a parsed jq program: what the parser makes and the evaluator walks.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/query/jq.h"
#include "net/query/regex.h"

namespace mirrord::net {

struct JqProgram::Node {
  enum class Kind {
    kIdentity,
    kEverything,  // ..
    kLiteral,     // `value`
    kVariable,    // $`text`
    kFormat,      // @`text`
    kTemplate,    // "a\(b)c": the pieces joined, strings as they are
    kIndex,       // of [0] by [1]
    kSlice,       // of [0] from [1] to [2], either of which may be a literal null
    kIterate,     // of [0]
    kTry,         // [0], catch [1] if there
    kArray,       // of what [0] gives; without it empty
    kObject,      // [0] is a key, [1] its value, [2] the next key, …
    kNegate,
    kPipe,
    kComma,
    kAlternative,  // //
    kOr,
    kAnd,
    kBinary,  // + - * / % == != < <= > >=, as `text`
    kIf,      // condition, then, else
    kBind,    // [0] as $`text` | [1]
    kCall,    // `text` with arguments
  };
  Kind kind = Kind::kIdentity;
  std::string text;
  JsonValue value;
  std::vector<Node> parts;
  mutable std::optional<Regex> regex;  // of a call whose expression is a literal
};

namespace jq {

using Node = JqProgram::Node;

Result<std::unique_ptr<Node>> parse(std::string_view text);

// Whether there is such a function, of so many arguments.
bool has_function(std::string_view name, std::size_t arguments);
bool has_format(std::string_view name);

// An integer where the value is one.
JsonValue number(double value);
bool is_true(const JsonValue& value);                       // anything but null and false
int compare(const JsonValue& one, const JsonValue& other);  // jq's order of all values

// ---- functions of values alone. Nothing: `why` says what is wrong.

std::optional<JsonValue> binary(std::string_view operation, const JsonValue& left,
                                const JsonValue& right, std::string& why);
std::optional<JsonValue> index(const JsonValue& value, const JsonValue& key, std::string& why);
std::optional<JsonValue> slice(const JsonValue& value, const JsonValue& from, const JsonValue& to,
                               std::string& why);
std::optional<JsonValue> format(std::string_view name, const JsonValue& value, std::string& why);
// A function that gives one value of its input and its arguments' values.
std::optional<JsonValue> call(std::string_view name, const JsonValue& input,
                              const std::vector<JsonValue>& arguments, std::string& why);

}  // namespace jq
}  // namespace mirrord::net
