// net/query/json_path.cpp — evaluates a JSONPath query.
#include "net/query/json_path.h"

#include <algorithm>
#include <map>
#include <optional>

#include "net/query/json_path_tree.h"
#include "net/query/regex.h"

namespace mirrord::net {
namespace {

using namespace json_path;
using Nodes = std::vector<const JsonValue*>;
using Kind = Expression::Kind;

constexpr std::size_t kMostNodes = 1'000'000;
constexpr std::size_t kMostPatterns = 16;  // a document may bring patterns of its own

// RFC 9485's `.` takes no carriage return either.
std::string from_i_regexp(std::string_view text) {
  std::string out;
  bool is_in_class = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      out += text[i++];
      out += text[i];
      continue;
    }
    is_in_class = text[i] == '[' || (is_in_class && text[i] != ']');
    if (text[i] == '.' && !is_in_class)
      out += "[^\\n\\r]";
    else
      out += text[i];
  }
  return out;
}

class Evaluation {
 public:
  Evaluation(const JsonValue& root, Effort& effort) : root_(root), effort_(effort) {}

  Nodes run(const JsonPath::Query& query, const JsonValue& current) {
    Nodes nodes{query.is_relative ? &current : &root_};
    for (const Segment& segment : query.segments) {
      Nodes next;
      for (const JsonValue* node : nodes) {
        if (segment.is_descendant)
          descend(segment, *node, next);
        else
          select(segment, *node, next);
        if (next.size() > kMostNodes)
          effort_.give_up();
        if (effort_.was_spent())
          return {};
      }
      nodes = std::move(next);
    }
    return nodes;
  }

 private:
  bool step() {
    if (++steps_ % 256 == 0 && effort_.is_spent())
      return false;
    return !effort_.was_spent();
  }

  void descend(const Segment& segment, const JsonValue& node, Nodes& out) {
    if (!step())
      return;
    select(segment, node, out);
    for_each_child(node, [&](const JsonValue& child) { descend(segment, child, out); });
  }

  template <class F>
  static void for_each_child(const JsonValue& node, F&& call) {
    if (const auto* array = node.as<JsonValue::Array>()) {
      for (const JsonValue& item : *array)
        call(item);
    } else if (const auto* object = node.as<JsonValue::Object>()) {
      for (const auto& [name, value] : *object)
        call(value);
    }
  }

  void select(const Segment& segment, const JsonValue& node, Nodes& out) {
    for (const Selector& selector : segment.selectors) {
      if (!step() || out.size() > kMostNodes)
        return;
      select(selector, node, out);
    }
  }

  void select(const Selector& selector, const JsonValue& node, Nodes& out) {
    if (const auto* name = std::get_if<Name>(&selector)) {
      if (const JsonValue* member = node.member(name->text))
        out.push_back(member);
    } else if (std::holds_alternative<Wildcard>(selector)) {
      for_each_child(node, [&](const JsonValue& child) { out.push_back(&child); });
    } else if (const auto* filter = std::get_if<Filter>(&selector)) {
      for_each_child(node, [&](const JsonValue& child) {
        if (step() && holds(*filter->condition, child))
          out.push_back(&child);
      });
    } else if (const auto* array = node.as<JsonValue::Array>()) {
      select_in(*array, selector, out);
    }
  }

  static void select_in(const JsonValue::Array& array, const Selector& selector, Nodes& out) {
    const auto size = static_cast<std::int64_t>(array.size());
    const auto put = [&](std::int64_t i) { out.push_back(&array[static_cast<std::size_t>(i)]); };
    if (const auto* index = std::get_if<Index>(&selector)) {
      const std::int64_t at = index->at < 0 ? index->at + size : index->at;
      if (at >= 0 && at < size)
        put(at);
      return;
    }
    const auto* slice = std::get_if<Slice>(&selector);
    if (slice == nullptr || slice->step == 0)
      return;
    const auto bound = [size](std::int64_t value, std::int64_t least, std::int64_t most) {
      return std::clamp(value < 0 ? value + size : value, least, most);
    };
    if (slice->step > 0) {
      const std::int64_t to = bound(slice->to.value_or(size), 0, size);
      for (std::int64_t i = bound(slice->from.value_or(0), 0, size); i < to; i += slice->step)
        put(i);
    } else {
      const std::int64_t from = slice->from ? bound(*slice->from, -1, size - 1) : size - 1;
      const std::int64_t to = slice->to ? bound(*slice->to, -1, size - 1) : -1;
      for (std::int64_t i = from; i > to; i += slice->step)
        put(i);
    }
  }

  // ---- filters

  bool holds(const Expression& condition, const JsonValue& current) {
    switch (condition.kind) {
      case Kind::kOr:
        return std::ranges::any_of(condition.operands,
                                   [&](const Expression& e) { return holds(e, current); });
      case Kind::kAnd:
        return std::ranges::all_of(condition.operands,
                                   [&](const Expression& e) { return holds(e, current); });
      case Kind::kNot:
        return !holds(condition.operands[0], current);
      case Kind::kQuery:
        return !run(*condition.query, current).empty();
      case Kind::kFunction:
        return matches(condition, current);
      case Kind::kLiteral:
        return false;
      default:
        return compare(condition, current);
    }
  }

  // What is compared: a value, or nothing.
  using Operand = std::optional<JsonValue>;

  const JsonValue* evaluate(const Expression& side, const JsonValue& current, Operand& own) {
    if (side.kind == Kind::kLiteral)
      return &side.literal;
    if (side.kind == Kind::kQuery) {
      const Nodes nodes = run(*side.query, current);
      return nodes.size() == 1 ? nodes[0] : nullptr;
    }
    return call(side, current, own);
  }

  bool compare(const Expression& comparison, const JsonValue& current) {
    Operand own_left, own_right;
    const JsonValue* left = evaluate(comparison.operands[0], current, own_left);
    const JsonValue* right = evaluate(comparison.operands[1], current, own_right);
    const auto equal = [&] {
      return left == nullptr || right == nullptr ? left == right : *left == *right;
    };
    switch (comparison.kind) {
      case Kind::kEqual:
        return equal();
      case Kind::kUnequal:
        return !equal();
      case Kind::kLess:
        return less(left, right);
      case Kind::kGreater:
        return less(right, left);
      case Kind::kLessOrEqual:
        return less(left, right) || equal();
      default:
        return less(right, left) || equal();
    }
  }

  static bool less(const JsonValue* left, const JsonValue* right) {
    if (left == nullptr || right == nullptr)
      return false;
    const auto* one = left->as<JsonNumber>();
    const auto* two = right->as<JsonNumber>();
    if (one != nullptr && two != nullptr)
      return *one < *two;
    const auto* text = left->as<std::string>();
    const auto* other = right->as<std::string>();
    return text != nullptr && other != nullptr && *text < *other;  // UTF-8 sorts by characters
  }

  const JsonValue* call(const Expression& function, const JsonValue& current, Operand& own) {
    switch (function.function) {
      case Function::kLength:
        own = length(function, current);
        break;
      case Function::kCount:
        own =
            JsonValue{JsonNumber::integer(run(*function.operands[0].query, current).size(), false)};
        break;
      case Function::kValue: {
        const Nodes nodes = run(*function.operands[0].query, current);
        return nodes.size() == 1 ? nodes[0] : nullptr;
      }
      default:
        own = JsonValue{type_of(run(*function.operands[0].query, current))};
        break;
    }
    return own ? &*own : nullptr;
  }

  static std::string type_of(const Nodes& nodes) {
    std::string_view type;
    for (const JsonValue* node : nodes) {
      if (!type.empty() && type != node->type_name())
        return "nothing";
      type = node->type_name();
    }
    return type.empty() ? "nothing" : type == "boolean" ? "bool" : std::string(type);
  }

  Operand length(const Expression& function, const JsonValue& current) {
    Operand own;
    const JsonValue* value = evaluate(function.operands[0], current, own);
    if (value == nullptr)
      return std::nullopt;
    std::size_t size = 0;
    if (const auto* text = value->as<std::string>()) {
      for (const char c : *text)
        size += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
    } else if (const auto* array = value->as<JsonValue::Array>()) {
      size = array->size();
    } else if (const auto* object = value->as<JsonValue::Object>()) {
      size = object->size();
    } else {
      return std::nullopt;
    }
    return JsonValue{JsonNumber::integer(size, false)};
  }

  // match() and search(): false for what is no string or no expression.
  bool matches(const Expression& function, const JsonValue& current) {
    Operand own_text, own_pattern;
    const JsonValue* text = evaluate(function.operands[0], current, own_text);
    const JsonValue* pattern = evaluate(function.operands[1], current, own_pattern);
    if (text == nullptr || pattern == nullptr || text->as<std::string>() == nullptr ||
        pattern->as<std::string>() == nullptr)
      return false;
    const Regex* regex = compiled(*pattern->as<std::string>(), function.function);
    return regex != nullptr && regex->search(*text->as<std::string>(), effort_);
  }

  const Regex* compiled(const std::string& pattern, Function function) {
    const bool is_whole = function == Function::kMatch;
    const auto key = std::pair(pattern, is_whole);
    if (const auto known = patterns_.find(key); known != patterns_.end())
      return known->second ? &*known->second : nullptr;
    if (patterns_.size() >= kMostPatterns)
      effort_.give_up();
    if (effort_.is_spent())
      return nullptr;
    const std::string rust = from_i_regexp(pattern);
    auto regex = Regex::compile(is_whole ? "\\A(?:" + rust + ")\\z" : rust, RegexCase::kExact);
    auto& kept = patterns_[key];
    if (regex)
      kept = std::move(*regex);
    return kept ? &*kept : nullptr;
  }

  const JsonValue& root_;
  Effort& effort_;
  std::size_t steps_ = 0;
  std::map<std::pair<std::string, bool>, std::optional<Regex>> patterns_;
};

}  // namespace

JsonPath::JsonPath(std::unique_ptr<Query> query) : query_(std::move(query)) {}
JsonPath::JsonPath(JsonPath&&) noexcept = default;
JsonPath& JsonPath::operator=(JsonPath&&) noexcept = default;
JsonPath::~JsonPath() = default;

Result<JsonPath> JsonPath::compile(std::string_view query) {
  MIRRORD_TRY(parsed, json_path::parse(query));
  return JsonPath(std::move(parsed));
}

std::vector<const JsonValue*> JsonPath::find(const JsonValue& document, Effort& effort) const {
  Nodes nodes = Evaluation(document, effort).run(*query_, document);
  return effort.was_spent() ? Nodes{} : nodes;
}

}  // namespace mirrord::net
