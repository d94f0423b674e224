// net/query/jq_functions.cpp — jq's functions of values: one table, and what each of them does.
#include <algorithm>
#include <cmath>
#include <functional>

#include "net/query/jq_tree.h"

namespace mirrord::net::jq {
namespace {

using Array = JsonValue::Array;
using Object = JsonValue::Object;
using Value = std::optional<JsonValue>;
using Arguments = std::vector<JsonValue>;

constexpr std::size_t kLongestText = 1 << 20;

std::string type(const JsonValue& value) {
  return std::string(value.type_name());
}

bool is_ascii_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

std::string trimmed(std::string_view text, bool left, bool right) {
  while (left && !text.empty() && is_ascii_space(text.front()))
    text.remove_prefix(1);
  while (right && !text.empty() && is_ascii_space(text.back()))
    text.remove_suffix(1);
  return std::string(text);
}

std::size_t character_count(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// ---- Base64 (RFC 4648), also the URL alphabet, with or without padding

std::string encode_base64(std::string_view bytes) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = (group << 8) | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j)
      out += i + j <= bytes.size() ? kAlphabet[(group >> (18 - 6 * j)) & 0x3F] : '=';
  }
  return out;
}

std::optional<std::string> decode_base64(std::string_view text) {
  std::string bytes;
  std::uint32_t group = 0;
  unsigned bits = 0;
  while (text.ends_with('='))
    text.remove_suffix(1);
  for (const char c : text) {
    std::uint32_t digit = 0;
    if (c >= 'A' && c <= 'Z')
      digit = static_cast<std::uint32_t>(c - 'A');
    else if (c >= 'a' && c <= 'z')
      digit = static_cast<std::uint32_t>(c - 'a' + 26);
    else if (c >= '0' && c <= '9')
      digit = static_cast<std::uint32_t>(c - '0' + 52);
    else if (c == '+' || c == '-')
      digit = 62;
    else if (c == '/' || c == '_')
      digit = 63;
    else
      return std::nullopt;
    group = (group << 6) | digit;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes += static_cast<char>((group >> bits) & 0xFF);
    }
  }
  // A string holds UTF-8 only.
  std::string out;
  for (std::size_t at = 0; at < bytes.size();) {
    bool is_valid = true;
    append_utf8(out, next_utf8(bytes, at, is_valid));
  }
  return out;
}

std::string encode_uri(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') ||
                          std::string_view("-_.~").find(c) != std::string_view::npos;
    if (is_plain)
      out += c;
    else
      out += {'%', kDigits[byte >> 4], kDigits[byte & 0xF]};
  }
  return out;
}

// ---- functions. Each gets the name it is called by, so that kin share one.

struct Call {
  std::string_view name;
  const JsonValue& in;
  const Arguments& arguments;
  std::string& why;

  Value fail(std::string text) const {
    why = std::move(text);
    return std::nullopt;
  }
  Value refuse() const { return fail(type(in) + " has no " + std::string(name)); }
  [[nodiscard]] const std::string* text() const { return in.as<std::string>(); }
  [[nodiscard]] const std::string* argument_text(std::size_t i = 0) const {
    return arguments[i].as<std::string>();
  }
};

Value length(const Call& call) {
  if (call.in.is_null())
    return number(0);
  if (const auto* text = call.text()) {
    return JsonValue{JsonNumber::integer(
        call.name == "utf8bytelength" ? text->size() : character_count(*text), false)};
  }
  if (const auto* array = call.in.as<Array>())
    return JsonValue{JsonNumber::integer(array->size(), false)};
  if (const auto* object = call.in.as<Object>())
    return JsonValue{JsonNumber::integer(object->size(), false)};
  if (const auto* value = call.in.as<JsonNumber>())
    return number(std::abs(value->value()));
  return call.refuse();
}

Value keys(const Call& call) {
  Array names;
  if (const auto* array = call.in.as<Array>()) {
    for (std::size_t i = 0; i < array->size(); ++i)
      names.push_back({JsonNumber::integer(i, false)});
  } else if (const auto* object = call.in.as<Object>()) {
    for (const auto& [name, value] : *object)
      names.push_back({name});
    if (call.name == "keys")
      std::ranges::sort(names, [](const auto& a, const auto& b) { return compare(a, b) < 0; });
  } else {
    return call.refuse();
  }
  return JsonValue{std::move(names)};
}

Value has(const Call& call) {
  const JsonValue& container = call.name == "in" ? call.arguments[0] : call.in;
  const JsonValue& key = call.name == "in" ? call.in : call.arguments[0];
  if (const auto* name = key.as<std::string>(); name != nullptr && container.as<Object>())
    return JsonValue{container.member(*name) != nullptr};
  const auto* at = key.as<JsonNumber>();
  if (const auto* array = container.as<Array>(); array != nullptr && at != nullptr)
    return JsonValue{at->value() >= 0 && at->value() < static_cast<double>(array->size())};
  return call.fail("cannot check whether " + type(container) + " has a key of type " + type(key));
}

bool contains_value(const JsonValue& outer, const JsonValue& inner, int depth) {
  if (depth > JsonValue::kDeepest)
    return false;
  const auto* text = outer.as<std::string>();
  const auto* part = inner.as<std::string>();
  if (text != nullptr && part != nullptr)
    return text->find(*part) != std::string::npos;
  const auto* array = outer.as<Array>();
  const auto* wanted = inner.as<Array>();
  if (array != nullptr && wanted != nullptr) {
    return std::ranges::all_of(*wanted, [&](const JsonValue& item) {
      return std::ranges::any_of(
          *array, [&](const JsonValue& own) { return contains_value(own, item, depth + 1); });
    });
  }
  const auto* members = inner.as<Object>();
  if (outer.as<Object>() != nullptr && members != nullptr) {
    return std::ranges::all_of(*members, [&](const JsonValue::Member& member) {
      const JsonValue* own = outer.member(member.first);
      return own != nullptr && contains_value(*own, member.second, depth + 1);
    });
  }
  return outer == inner;
}

Value contains(const Call& call) {
  const JsonValue& outer = call.name == "inside" ? call.arguments[0] : call.in;
  const JsonValue& inner = call.name == "inside" ? call.in : call.arguments[0];
  if (outer.data.index() != inner.data.index())
    return call.fail(type(outer) + " cannot contain " + type(inner));
  return JsonValue{contains_value(outer, inner, 0)};
}

Value affix(const Call& call) {
  const auto* text = call.text();
  const auto* part = call.argument_text();
  const bool is_question = call.name == "startswith" || call.name == "endswith";
  if (text == nullptr || part == nullptr) {
    if (is_question)
      return call.fail(std::string(call.name) + " takes strings");
    return call.in;
  }
  const bool is_front = call.name == "startswith" || call.name == "ltrimstr";
  const bool is_there = is_front ? text->starts_with(*part) : text->ends_with(*part);
  if (is_question)
    return JsonValue{is_there};
  if (!is_there)
    return call.in;
  return JsonValue{is_front ? text->substr(part->size())
                            : text->substr(0, text->size() - part->size())};
}

Value change_text(const Call& call) {
  const auto* text = call.text();
  if (text == nullptr)
    return call.refuse();
  if (call.name.ends_with("trim"))
    return JsonValue{trimmed(*text, call.name != "rtrim", call.name != "ltrim")};
  std::string out = *text;
  const bool is_upper = call.name == "ascii_upcase";
  for (char& c : out) {
    if (is_upper && c >= 'a' && c <= 'z')
      c = static_cast<char>(c - 'a' + 'A');
    else if (!is_upper && c >= 'A' && c <= 'Z')
      c = static_cast<char>(c - 'A' + 'a');
  }
  return JsonValue{std::move(out)};
}

Array split_text(std::string_view text, std::string_view by) {
  Array parts;
  if (text.empty())
    return parts;
  if (by.empty()) {
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t begin = at;
      bool is_valid = true;
      next_utf8(text, at, is_valid);
      parts.push_back({std::string(text.substr(begin, at - begin))});
    }
    return parts;
  }
  while (true) {
    const std::size_t at = text.find(by);
    parts.push_back({std::string(text.substr(0, at))});
    if (at == std::string_view::npos)
      return parts;
    text.remove_prefix(at + by.size());
  }
}

Value split(const Call& call) {
  if (call.text() == nullptr || call.argument_text() == nullptr)
    return call.fail("split takes strings");
  return JsonValue{split_text(*call.text(), *call.argument_text())};
}

Value join(const Call& call) {
  const auto* array = call.in.as<Array>();
  const auto* by = call.argument_text();
  if (array == nullptr || by == nullptr)
    return call.fail("join takes an array and a string");
  std::string out;
  for (const JsonValue& item : *array) {
    if (&item != &array->front())
      out += *by;
    if (item.as<Array>() || item.as<Object>())
      return call.fail("join cannot join " + type(item));
    const auto* text = item.as<std::string>();
    out += text != nullptr ? *text : item.is_null() ? "" : item.dump();
    if (out.size() > kLongestText)
      return call.fail("a string that is too long");
  }
  return JsonValue{std::move(out)};
}

Value convert(const Call& call) {
  if (call.name == "type")
    return JsonValue{type(call.in)};
  if (call.name == "tojson" || (call.name == "tostring" && call.text() == nullptr))
    return JsonValue{call.in.dump()};
  if (call.name == "tostring" || (call.name == "tonumber" && call.in.as<JsonNumber>() != nullptr))
    return call.in;
  if (call.text() == nullptr)
    return call.refuse();
  auto parsed = JsonValue::parse(*call.text());
  if (!parsed)
    return call.fail(parsed.error().what);
  if (call.name == "tonumber" && parsed->as<JsonNumber>() == nullptr)
    return call.fail("`" + *call.text() + "` is no number");
  return std::move(*parsed);
}

Value round_number(const Call& call) {
  const auto* value = call.in.as<JsonNumber>();
  if (value == nullptr)
    return call.refuse();
  const double v = value->value();
  if (call.name == "abs")
    return number(std::abs(v));
  return number(call.name == "floor"  ? std::floor(v)
                : call.name == "ceil" ? std::ceil(v)
                                      : std::round(v));
}

Value of_array(const Call& call) {
  const auto* array = call.in.as<Array>();
  if (array == nullptr)
    return call.refuse();
  const auto less = [](const JsonValue& a, const JsonValue& b) { return compare(a, b) < 0; };
  if (call.name == "first")
    return array->empty() ? JsonValue{} : array->front();
  if (call.name == "last")
    return array->empty() ? JsonValue{} : array->back();
  if (call.name == "min")
    return array->empty() ? JsonValue{} : *std::ranges::min_element(*array, less);
  if (call.name == "max")
    return array->empty() ? JsonValue{} : *std::ranges::max_element(*array, less);
  Array out = *array;
  if (call.name == "reverse") {
    std::ranges::reverse(out);
    return JsonValue{std::move(out)};
  }
  std::ranges::stable_sort(out, less);
  if (call.name == "unique") {
    const auto rest = std::ranges::unique(
        out, [](const JsonValue& a, const JsonValue& b) { return compare(a, b) == 0; });
    out.erase(rest.begin(), rest.end());
  }
  return JsonValue{std::move(out)};
}

Value add(const Call& call) {
  Value sum = JsonValue{};
  if (const auto* array = call.in.as<Array>()) {
    for (const JsonValue& item : *array) {
      sum = binary("+", *sum, item, call.why);
      if (!sum)
        return std::nullopt;
    }
    return sum;
  }
  return call.refuse();
}

Value to_entries(const Call& call) {
  const auto* object = call.in.as<Object>();
  if (object == nullptr)
    return call.refuse();
  Array entries;
  for (const auto& [name, value] : *object)
    entries.push_back({Object{{"key", {name}}, {"value", value}}});
  return JsonValue{std::move(entries)};
}

// Places of a string in a string, in characters; of a value in an array.
Value indices(const Call& call) {
  Array places;
  const auto* text = call.text();
  if (const auto* array = call.in.as<Array>()) {
    for (std::size_t i = 0; i < array->size(); ++i) {
      if ((*array)[i] == call.arguments[0])
        places.push_back({JsonNumber::integer(i, false)});
    }
  } else if (text != nullptr && call.argument_text() != nullptr) {
    const std::string& part = *call.argument_text();
    for (std::size_t at = text->find(part); !part.empty() && at != std::string::npos;
         at = text->find(part, at + 1)) {
      places.push_back(
          {JsonNumber::integer(character_count(std::string_view(*text).substr(0, at)), false)});
    }
  } else if (!call.in.is_null()) {
    return call.refuse();
  }
  if (call.name == "indices")
    return JsonValue{std::move(places)};
  if (places.empty())
    return JsonValue{};
  return call.name == "index" ? places.front() : places.back();
}

struct Row {
  std::string_view name;
  std::size_t arguments;
  Value (*function)(const Call&);  // null: the evaluator's own (jq.cpp)
};

constexpr Row kFunctions[] = {
    // Their arguments are programs.
    {"all", 0, nullptr},
    {"all", 1, nullptr},
    {"all", 2, nullptr},
    {"any", 0, nullptr},
    {"any", 1, nullptr},
    {"any", 2, nullptr},
    {"arrays", 0, nullptr},
    {"booleans", 0, nullptr},
    {"empty", 0, nullptr},
    {"error", 0, nullptr},
    {"error", 1, nullptr},
    {"first", 1, nullptr},
    {"map", 1, nullptr},
    {"not", 0, nullptr},
    {"nulls", 0, nullptr},
    {"numbers", 0, nullptr},
    {"objects", 0, nullptr},
    {"range", 1, nullptr},
    {"range", 2, nullptr},
    {"recurse", 0, nullptr},
    {"scalars", 0, nullptr},
    {"select", 1, nullptr},
    {"strings", 0, nullptr},
    {"test", 1, nullptr},
    {"test", 2, nullptr},
    {"values", 0, nullptr},
    // Their arguments are values.
    {"abs", 0, round_number},
    {"add", 0, add},
    {"ascii_downcase", 0, change_text},
    {"ascii_upcase", 0, change_text},
    {"ceil", 0, round_number},
    {"contains", 1, contains},
    {"endswith", 1, affix},
    {"first", 0, of_array},
    {"floor", 0, round_number},
    {"fromjson", 0, convert},
    {"has", 1, has},
    {"in", 1, has},
    {"index", 1, indices},
    {"indices", 1, indices},
    {"inside", 1, contains},
    {"join", 1, join},
    {"keys", 0, keys},
    {"keys_unsorted", 0, keys},
    {"last", 0, of_array},
    {"length", 0, length},
    {"ltrim", 0, change_text},
    {"ltrimstr", 1, affix},
    {"max", 0, of_array},
    {"min", 0, of_array},
    {"reverse", 0, of_array},
    {"rindex", 1, indices},
    {"round", 0, round_number},
    {"rtrim", 0, change_text},
    {"rtrimstr", 1, affix},
    {"sort", 0, of_array},
    {"split", 1, split},
    {"startswith", 1, affix},
    {"to_entries", 0, to_entries},
    {"tojson", 0, convert},
    {"tonumber", 0, convert},
    {"tostring", 0, convert},
    {"trim", 0, change_text},
    {"type", 0, convert},
    {"unique", 0, of_array},
    {"utf8bytelength", 0, length},
};

const Row* row_of(std::string_view name, std::size_t arguments) {
  const auto row = std::ranges::find_if(kFunctions, [&](const Row& each) {
    return each.name == name && each.arguments == arguments;
  });
  return row == std::end(kFunctions) ? nullptr : row;
}

std::optional<bool> compared(std::string_view operation, int order) {
  if (operation == "==")
    return order == 0;
  if (operation == "!=")
    return order != 0;
  if (operation == "<")
    return order < 0;
  if (operation == "<=")
    return order <= 0;
  if (operation == ">")
    return order > 0;
  if (operation == ">=")
    return order >= 0;
  return std::nullopt;
}

Value arithmetic(char operation, double left, double right, std::string& why) {
  if ((operation == '/' || operation == '%') && std::trunc(right) == 0 &&
      (operation == '%' || right == 0)) {
    why = "cannot divide by zero";
    return std::nullopt;
  }
  switch (operation) {
    case '+':
      return number(left + right);
    case '-':
      return number(left - right);
    case '*':
      return number(left * right);
    case '/':
      return number(left / right);
    default:
      return number(std::fmod(std::trunc(left), std::abs(std::trunc(right))));
  }
}

int sign(auto one, auto other) {
  return one < other ? -1 : other < one ? 1 : 0;
}

}  // namespace

bool has_function(std::string_view name, std::size_t arguments) {
  return row_of(name, arguments) != nullptr;
}

bool has_format(std::string_view name) {
  return name == "base64" || name == "base64d" || name == "json" || name == "text" || name == "uri";
}

JsonValue number(double value) {
  constexpr double kExact = 1ULL << 53;
  if (std::isnan(value))
    return {};
  if (std::abs(value) <= kExact && std::trunc(value) == value)
    return {JsonNumber::integer(static_cast<std::int64_t>(value))};
  return {JsonNumber(std::clamp(value, -1.7976931348623157e308, 1.7976931348623157e308))};
}

bool is_true(const JsonValue& value) {
  const bool* boolean = value.as<bool>();
  return !value.is_null() && (boolean == nullptr || *boolean);
}

int compare(const JsonValue& one, const JsonValue& other) {
  if (one.data.index() != other.data.index())
    return sign(one.data.index(), other.data.index());  // the variant's order is jq's
  if (const auto* boolean = one.as<bool>())
    return sign(*boolean, std::get<bool>(other.data));
  if (const auto* value = one.as<JsonNumber>())
    return sign(*value, std::get<JsonNumber>(other.data));
  if (const auto* text = one.as<std::string>())
    return text->compare(std::get<std::string>(other.data));
  if (const auto* array = one.as<Array>()) {
    const auto& second = std::get<Array>(other.data);
    for (std::size_t i = 0; i < array->size() && i < second.size(); ++i) {
      if (const int order = compare((*array)[i], second[i]); order != 0)
        return order;
    }
    return sign(array->size(), second.size());
  }
  const auto* object = one.as<Object>();
  if (object == nullptr)
    return 0;
  const auto sorted = [](Object members) {
    std::ranges::sort(members, {}, &JsonValue::Member::first);
    return members;
  };
  const Object first = sorted(*object);
  const Object second = sorted(std::get<Object>(other.data));
  const auto names = [](const Object& members) {
    std::vector<std::string> list;
    for (const auto& [name, value] : members)
      list.push_back(name);
    return list;
  };
  if (const int order = sign(names(first), names(second)); order != 0)
    return order;
  for (std::size_t i = 0; i < first.size(); ++i) {
    if (const int order = compare(first[i].second, second[i].second); order != 0)
      return order;
  }
  return 0;
}

Value binary(std::string_view operation, const JsonValue& left, const JsonValue& right,
             std::string& why) {
  if (const auto answer = compared(operation, compare(left, right)))
    return JsonValue{*answer};
  if (operation == "+" && left.is_null())
    return right;
  if (operation == "+" && right.is_null())
    return left;
  const auto* one = left.as<JsonNumber>();
  const auto* two = right.as<JsonNumber>();
  if (one != nullptr && two != nullptr)
    return arithmetic(operation[0], one->value(), two->value(), why);
  const auto* text = left.as<std::string>();
  const auto* tail = right.as<std::string>();
  if (text != nullptr && tail != nullptr && operation == "+")
    return JsonValue{*text + *tail};
  if (text != nullptr && tail != nullptr && operation == "/")
    return JsonValue{split_text(*text, *tail)};
  const auto* array = left.as<Array>();
  const auto* second = right.as<Array>();
  if (array != nullptr && second != nullptr && (operation == "+" || operation == "-")) {
    Array out = *array;
    if (operation == "+")
      out.insert(out.end(), second->begin(), second->end());
    else
      std::erase_if(out, [&](const JsonValue& item) {
        return std::ranges::find(*second, item) != second->end();
      });
    return JsonValue{std::move(out)};
  }
  const auto* members = left.as<Object>();
  const auto* more = right.as<Object>();
  if (members != nullptr && more != nullptr && operation == "+") {
    Object out = *members;
    for (const auto& [name, value] : *more) {
      const auto found = std::ranges::find(out, name, &JsonValue::Member::first);
      if (found != out.end())
        found->second = value;
      else
        out.emplace_back(name, value);
    }
    return JsonValue{std::move(out)};
  }
  why = type(left) + " and " + type(right) + " have no `" + std::string(operation) + "`";
  return std::nullopt;
}

Value index(const JsonValue& value, const JsonValue& key, std::string& why) {
  const auto* name = key.as<std::string>();
  const auto* at = key.as<JsonNumber>();
  if (value.is_null() && (name != nullptr || at != nullptr))
    return JsonValue{};
  if (name != nullptr && value.as<Object>() != nullptr) {
    const JsonValue* member = value.member(*name);
    return member != nullptr ? *member : JsonValue{};
  }
  if (const auto* array = value.as<Array>(); array != nullptr && at != nullptr) {
    const double place =
        std::floor(at->value()) + (at->value() < 0 ? static_cast<double>(array->size()) : 0);
    return place >= 0 && place < static_cast<double>(array->size())
               ? (*array)[static_cast<std::size_t>(place)]
               : JsonValue{};
  }
  why = "cannot index " + type(value) + " with " +
        (name != nullptr ? "\"" + *name + "\"" : type(key));
  return std::nullopt;
}

Value slice(const JsonValue& value, const JsonValue& from, const JsonValue& to, std::string& why) {
  if (value.is_null())
    return JsonValue{};
  const auto* text = value.as<std::string>();
  const auto* array = value.as<Array>();
  if ((text == nullptr && array == nullptr) || (!from.is_null() && !from.as<JsonNumber>()) ||
      (!to.is_null() && !to.as<JsonNumber>())) {
    why = "cannot slice " + type(value);
    return std::nullopt;
  }
  Array items = text != nullptr ? split_text(*text, "") : *array;
  const auto size = static_cast<double>(items.size());
  const auto bound = [size](const JsonValue& end, double otherwise, bool is_up) {
    const auto* given = end.as<JsonNumber>();
    double place = given == nullptr ? otherwise : given->value();
    place = is_up ? std::ceil(place) : std::floor(place);
    return static_cast<std::ptrdiff_t>(std::clamp(place < 0 ? place + size : place, 0.0, size));
  };
  const std::ptrdiff_t begin = bound(from, 0, false);
  const std::ptrdiff_t end = std::max(begin, bound(to, size, true));
  if (text == nullptr)
    return JsonValue{Array(items.begin() + begin, items.begin() + end)};
  std::string out;
  for (std::ptrdiff_t i = begin; i < end; ++i)
    out += std::get<std::string>(items[static_cast<std::size_t>(i)].data);
  return JsonValue{std::move(out)};
}

Value format(std::string_view name, const JsonValue& value, std::string& why) {
  const auto* string = value.as<std::string>();
  const std::string text = string != nullptr && name != "json" ? *string : value.dump();
  if (name == "base64")
    return JsonValue{encode_base64(text)};
  if (name == "uri")
    return JsonValue{encode_uri(text)};
  if (name == "base64d") {
    auto decoded = decode_base64(text);
    if (!decoded) {
      why = "`" + text.substr(0, 100) + "` is no Base64";
      return std::nullopt;
    }
    return JsonValue{std::move(*decoded)};
  }
  return JsonValue{text};
}

Value call(std::string_view name, const JsonValue& input, const Arguments& arguments,
           std::string& why) {
  const Row* row = row_of(name, arguments.size());
  if (row == nullptr || row->function == nullptr) {
    why = "no function is called " + std::string(name);
    return std::nullopt;
  }
  return row->function({name, input, arguments, why});
}

}  // namespace mirrord::net::jq
