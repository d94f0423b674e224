// net/query/jq.cpp — evaluates a jq program: each expression hands its results on, one by one.
#include "net/query/jq.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "net/query/jq_tree.h"

namespace mirrord::net {
namespace {

using jq::Node;
using Kind = Node::Kind;

constexpr int kDeepest = 1200;
constexpr std::size_t kMostBytes = 8 << 20;  // of values made, over the whole run

enum class Flow {
  kGoOn,
  kStop,    // whoever takes the results wants no more
  kFailed,  // an error: Evaluation::error_
};

// A callable, not owned.
class Sink {
 public:
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, Sink>)
  Sink(F&& callable)  // NOLINT(google-explicit-constructor)
      : object_(const_cast<void*>(static_cast<const void*>(&callable))),
        call_([](void* object, const JsonValue& value) {
          return (*static_cast<std::remove_reference_t<F>*>(object))(value);
        }) {}
  Flow operator()(const JsonValue& value) const { return call_(object_, value); }

 private:
  void* object_;
  Flow (*call_)(void*, const JsonValue&);
};

struct Scope {
  const std::string* name;
  const JsonValue* value;
  const Scope* outer;
};

std::size_t weight(const JsonValue& value) {
  std::size_t sum = 32;
  if (const auto* text = value.as<std::string>()) {
    sum += text->size();
  } else if (const auto* array = value.as<JsonValue::Array>()) {
    for (const JsonValue& item : *array)
      sum += weight(item);
  } else if (const auto* object = value.as<JsonValue::Object>()) {
    for (const auto& [name, item] : *object)
      sum += name.size() + weight(item);
  }
  return sum;
}

class Evaluation {
 public:
  explicit Evaluation(Effort& effort) : effort_(effort) {}

  Flow run(const Node& node, const JsonValue& in, const Scope* scope, const Sink& out) {
    if (++steps_ % 64 == 0 && effort_.is_spent())
      return Flow::kStop;
    if (effort_.was_spent())
      return Flow::kStop;
    if (depth_ >= kDeepest)
      return give_up();
    ++depth_;
    const Flow flow = dispatch(node, in, scope, out);
    --depth_;
    return flow;
  }

 private:
  Flow dispatch(const Node& node, const JsonValue& in, const Scope* scope, const Sink& out);
  Flow everything(const JsonValue& value, const Sink& out);
  Flow template_string(const Node& node, std::size_t part, const std::string& sofar,
                       const JsonValue& in, const Scope* scope, const Sink& out);
  Flow iterate(const JsonValue& value, const Sink& out);
  Flow attempt(const Node& node, const JsonValue& in, const Scope* scope, const Sink& out);
  Flow array(const Node& node, const JsonValue& in, const Scope* scope, const Sink& out);
  Flow object(const Node& node, std::size_t part, const JsonValue::Object& sofar,
              const JsonValue& in, const Scope* scope, const Sink& out);
  Flow alternative(const Node& node, const JsonValue& in, const Scope* scope, const Sink& out);
  Flow logical(const Node& node, bool decides, const JsonValue& in, const Scope* scope,
               const Sink& out);
  Flow call(const Node& node, const JsonValue& in, const Scope* scope, const Sink& out);
  Flow any_or_all(const Node& node, const JsonValue& in, const Scope* scope, const Sink& out);
  Flow first(const Node& node, const JsonValue& in, const Scope* scope, const Sink& out);
  Flow range(const Node& node, const JsonValue& in, const Scope* scope, const Sink& out);
  Flow test(const Node& node, const JsonValue& in, const Scope* scope, const Sink& out);
  Flow with_arguments(const Node& node, std::vector<JsonValue>& values, const JsonValue& in,
                      const Scope* scope, const Sink& out);

  Flow fail(JsonValue why) {
    error_ = std::move(why);
    return Flow::kFailed;
  }
  Flow give_up() {
    effort_.give_up();
    return Flow::kStop;
  }
  // Hands on a value that was made, or fails.
  Flow made(std::optional<JsonValue> value, std::string& why, const Sink& out) {
    if (!value)
      return fail({std::move(why)});
    bytes_ += weight(*value);
    return bytes_ > kMostBytes ? give_up() : out(*value);
  }

  Effort& effort_;
  JsonValue error_;
  std::size_t steps_ = 0, bytes_ = 0;
  int depth_ = 0;
};

Flow Evaluation::dispatch(const Node& node, const JsonValue& in, const Scope* scope,
                          const Sink& out) {
  std::string why;
  switch (node.kind) {
    case Kind::kIdentity:
      return out(in);
    case Kind::kEverything:
      return everything(in, out);
    case Kind::kLiteral:
      return out(node.value);
    case Kind::kVariable:
      while (*scope->name != node.text)
        scope = scope->outer;
      return out(*scope->value);
    case Kind::kFormat:
      return made(jq::format(node.text, in, why), why, out);
    case Kind::kTemplate:
      return template_string(node, 0, "", in, scope, out);
    case Kind::kIndex:
      return run(node.parts[1], in, scope, [&](const JsonValue& key) {
        return run(node.parts[0], in, scope, [&](const JsonValue& value) {
          return made(jq::index(value, key, why), why, out);
        });
      });
    case Kind::kSlice:
      return run(node.parts[2], in, scope, [&](const JsonValue& to) {
        return run(node.parts[1], in, scope, [&](const JsonValue& from) {
          return run(node.parts[0], in, scope, [&](const JsonValue& value) {
            return made(jq::slice(value, from, to, why), why, out);
          });
        });
      });
    case Kind::kIterate:
      return run(node.parts[0], in, scope,
                 [&](const JsonValue& value) { return iterate(value, out); });
    case Kind::kTry:
      return attempt(node, in, scope, out);
    case Kind::kArray:
      return array(node, in, scope, out);
    case Kind::kObject:
      return object(node, 0, {}, in, scope, out);
    case Kind::kNegate:
      return run(node.parts[0], in, scope, [&](const JsonValue& value) {
        return made(jq::binary("-", {JsonNumber::integer(0)}, value, why), why, out);
      });
    case Kind::kPipe:
      return run(node.parts[0], in, scope,
                 [&](const JsonValue& value) { return run(node.parts[1], value, scope, out); });
    case Kind::kComma: {
      const Flow flow = run(node.parts[0], in, scope, out);
      return flow == Flow::kGoOn ? run(node.parts[1], in, scope, out) : flow;
    }
    case Kind::kAlternative:
      return alternative(node, in, scope, out);
    case Kind::kOr:
    case Kind::kAnd:
      return logical(node, node.kind == Kind::kOr, in, scope, out);
    case Kind::kBinary:
      return run(node.parts[1], in, scope, [&](const JsonValue& right) {
        return run(node.parts[0], in, scope, [&](const JsonValue& left) {
          return made(jq::binary(node.text, left, right, why), why, out);
        });
      });
    case Kind::kIf:
      return run(node.parts[0], in, scope, [&](const JsonValue& condition) {
        return run(node.parts[jq::is_true(condition) ? 1 : 2], in, scope, out);
      });
    case Kind::kBind:
      return run(node.parts[0], in, scope, [&](const JsonValue& value) {
        const Scope inner{&node.text, &value, scope};
        return run(node.parts[1], in, &inner, out);
      });
    case Kind::kCall:
      return call(node, in, scope, out);
  }
  return Flow::kStop;
}

Flow Evaluation::everything(const JsonValue& value, const Sink& out) {
  Flow flow = out(value);
  if (flow == Flow::kGoOn && (value.as<JsonValue::Array>() || value.as<JsonValue::Object>()))
    flow = iterate(value, [&](const JsonValue& item) { return everything(item, out); });
  return flow;
}

Flow Evaluation::iterate(const JsonValue& value, const Sink& out) {
  const auto each = [&](const JsonValue& item) {
    if (++steps_ % 64 == 0 && effort_.is_spent())
      return Flow::kStop;
    return out(item);
  };
  if (const auto* array = value.as<JsonValue::Array>()) {
    for (const JsonValue& item : *array) {
      if (const Flow flow = each(item); flow != Flow::kGoOn)
        return flow;
    }
    return Flow::kGoOn;
  }
  if (const auto* object = value.as<JsonValue::Object>()) {
    for (const auto& [name, item] : *object) {
      if (const Flow flow = each(item); flow != Flow::kGoOn)
        return flow;
    }
    return Flow::kGoOn;
  }
  return fail({"cannot iterate over " + std::string(value.type_name())});
}

Flow Evaluation::template_string(const Node& node, std::size_t part, const std::string& sofar,
                                 const JsonValue& in, const Scope* scope, const Sink& out) {
  std::string why;
  if (part == node.parts.size())
    return made(JsonValue{sofar}, why, out);
  return run(node.parts[part], in, scope, [&](const JsonValue& value) {
    const auto* text = value.as<std::string>();
    const std::string longer = sofar + (text != nullptr ? *text : value.dump());
    bytes_ += longer.size();
    if (bytes_ > kMostBytes)
      return give_up();
    return template_string(node, part + 1, longer, in, scope, out);
  });
}

// An error of what takes the results is not caught.
Flow Evaluation::attempt(const Node& node, const JsonValue& in, const Scope* scope,
                         const Sink& out) {
  bool is_from_outside = false;
  const Flow flow = run(node.parts[0], in, scope, [&](const JsonValue& value) {
    const Flow next = out(value);
    is_from_outside = next == Flow::kFailed;
    return next;
  });
  if (flow != Flow::kFailed || is_from_outside)
    return flow;
  if (node.parts.size() < 2)
    return Flow::kGoOn;
  const JsonValue error = std::move(error_);
  return run(node.parts[1], error, scope, out);
}

Flow Evaluation::array(const Node& node, const JsonValue& in, const Scope* scope, const Sink& out) {
  JsonValue::Array items;
  if (!node.parts.empty()) {
    const Flow flow = run(node.parts[0], in, scope, [&](const JsonValue& item) {
      bytes_ += weight(item);
      if (bytes_ > kMostBytes)
        return give_up();
      items.push_back(item);
      return Flow::kGoOn;
    });
    if (flow != Flow::kGoOn)
      return flow;
  }
  return out({std::move(items)});
}

Flow Evaluation::object(const Node& node, std::size_t part, const JsonValue::Object& sofar,
                        const JsonValue& in, const Scope* scope, const Sink& out) {
  std::string why;
  if (part == node.parts.size())
    return made(JsonValue{sofar}, why, out);
  return run(node.parts[part], in, scope, [&](const JsonValue& key) {
    const auto* name = key.as<std::string>();
    if (name == nullptr)
      return fail({"a key of an object must be a string"});
    return run(node.parts[part + 1], in, scope, [&](const JsonValue& value) {
      JsonValue::Object longer = sofar;
      const auto found = std::ranges::find(longer, *name, &JsonValue::Member::first);
      if (found != longer.end())
        found->second = value;
      else
        longer.emplace_back(*name, value);
      bytes_ += weight(value) + name->size();
      if (bytes_ > kMostBytes)
        return give_up();
      return object(node, part + 2, longer, in, scope, out);
    });
  });
}

// The true ones of the left, errors left out; without any, the right.
Flow Evaluation::alternative(const Node& node, const JsonValue& in, const Scope* scope,
                             const Sink& out) {
  bool is_found = false;
  bool is_from_outside = false;
  const Flow flow = run(node.parts[0], in, scope, [&](const JsonValue& value) {
    if (!jq::is_true(value))
      return Flow::kGoOn;
    is_found = true;
    const Flow next = out(value);
    is_from_outside = next == Flow::kFailed;
    return next;
  });
  if (flow == Flow::kStop || is_from_outside)
    return flow;
  return is_found ? Flow::kGoOn : run(node.parts[1], in, scope, out);
}

Flow Evaluation::logical(const Node& node, bool decides, const JsonValue& in, const Scope* scope,
                         const Sink& out) {
  return run(node.parts[0], in, scope, [&](const JsonValue& left) {
    if (jq::is_true(left) == decides)
      return out({decides});
    return run(node.parts[1], in, scope,
               [&](const JsonValue& right) { return out({jq::is_true(right)}); });
  });
}

// ---- functions whose arguments are programs

Flow Evaluation::call(const Node& node, const JsonValue& in, const Scope* scope, const Sink& out) {
  const std::string& name = node.text;
  const std::size_t count = node.parts.size();
  std::string why;
  if (name == "empty")
    return Flow::kGoOn;
  if (name == "error" && count == 0)
    return fail(in);
  if (name == "error")
    return run(node.parts[0], in, scope, [&](const JsonValue& value) { return fail(value); });
  if (name == "not")
    return out({!jq::is_true(in)});
  if (name == "select")
    return run(node.parts[0], in, scope, [&](const JsonValue& condition) {
      return jq::is_true(condition) ? out(in) : Flow::kGoOn;
    });
  if (name == "map") {
    JsonValue::Array items;
    const Flow flow = iterate(in, [&](const JsonValue& item) {
      return run(node.parts[0], item, scope, [&](const JsonValue& value) {
        bytes_ += weight(value);
        if (bytes_ > kMostBytes)
          return give_up();
        items.push_back(value);
        return Flow::kGoOn;
      });
    });
    return flow == Flow::kGoOn ? out({std::move(items)}) : flow;
  }
  if (name == "recurse")
    return everything(in, out);
  if (name == "any" || name == "all")
    return any_or_all(node, in, scope, out);
  if (name == "first" && count == 1)
    return first(node, in, scope, out);
  if (name == "range")
    return range(node, in, scope, out);
  if (name == "test")
    return test(node, in, scope, out);
  for (const auto& [word, type] : {std::pair{"nulls", "null"},
                                   {"booleans", "boolean"},
                                   {"numbers", "number"},
                                   {"strings", "string"},
                                   {"arrays", "array"},
                                   {"objects", "object"}}) {
    if (name == word)
      return in.type_name() == type ? out(in) : Flow::kGoOn;
  }
  if (name == "values")
    return in.is_null() ? Flow::kGoOn : out(in);
  if (name == "scalars")
    return in.as<JsonValue::Array>() || in.as<JsonValue::Object>() ? Flow::kGoOn : out(in);
  std::vector<JsonValue> values;
  return with_arguments(node, values, in, scope, out);
}

// All combinations of what the arguments give.
Flow Evaluation::with_arguments(const Node& node, std::vector<JsonValue>& values,
                                const JsonValue& in, const Scope* scope, const Sink& out) {
  std::string why;
  if (values.size() == node.parts.size())
    return made(jq::call(node.text, in, values, why), why, out);
  return run(node.parts[values.size()], in, scope, [&](const JsonValue& value) {
    values.push_back(value);
    const Flow flow = with_arguments(node, values, in, scope, out);
    values.pop_back();
    return flow;
  });
}

// any, any(condition), any(generator; condition), and all likewise.
Flow Evaluation::any_or_all(const Node& node, const JsonValue& in, const Scope* scope,
                            const Sink& out) {
  const bool decides = node.text == "any";
  bool is_decided = false;
  const auto take = [&](const JsonValue& value) {
    is_decided = jq::is_true(value) == decides;
    return is_decided ? Flow::kStop : Flow::kGoOn;
  };
  const auto each = [&](const JsonValue& item) {
    return node.parts.empty() ? take(item) : run(node.parts.back(), item, scope, take);
  };
  const Flow flow =
      node.parts.size() == 2 ? run(node.parts[0], in, scope, each) : iterate(in, each);
  if (flow == Flow::kFailed || effort_.was_spent())
    return flow;
  return out({is_decided == decides});
}

Flow Evaluation::first(const Node& node, const JsonValue& in, const Scope* scope, const Sink& out) {
  std::optional<JsonValue> found;
  const Flow flow = run(node.parts[0], in, scope, [&](const JsonValue& value) {
    found = value;
    return Flow::kStop;
  });
  if (flow == Flow::kFailed || effort_.was_spent())
    return flow;
  return found ? out(*found) : Flow::kGoOn;
}

Flow Evaluation::range(const Node& node, const JsonValue& in, const Scope* scope, const Sink& out) {
  const auto count = [&](const JsonValue& from, const JsonValue& to) {
    const auto* begin = from.as<JsonNumber>();
    const auto* end = to.as<JsonNumber>();
    if (begin == nullptr || end == nullptr)
      return fail({"range takes numbers"});
    for (double i = begin->value(); i < end->value() && i + 1 > i; i += 1) {
      if (++steps_ % 64 == 0 && effort_.is_spent())
        return Flow::kStop;
      if (const Flow flow = out(jq::number(i)); flow != Flow::kGoOn)
        return flow;
    }
    return Flow::kGoOn;
  };
  if (node.parts.size() == 1)
    return run(node.parts[0], in, scope,
               [&](const JsonValue& to) { return count({JsonNumber::integer(0)}, to); });
  return run(node.parts[1], in, scope, [&](const JsonValue& to) {
    return run(node.parts[0], in, scope, [&](const JsonValue& from) { return count(from, to); });
  });
}

Flow Evaluation::test(const Node& node, const JsonValue& in, const Scope* scope, const Sink& out) {
  const auto* text = in.as<std::string>();
  if (text == nullptr)
    return fail({std::string(in.type_name()) + " cannot be matched, as it is not a string"});
  return run(node.parts[0], in, scope, [&](const JsonValue& pattern) {
    const auto search = [&](const JsonValue& flags) {
      const auto* expression = pattern.as<std::string>();
      const auto* letters = flags.as<std::string>();
      if (expression == nullptr || letters == nullptr)
        return fail({"test takes strings"});
      const bool is_folded = letters->find('i') != std::string::npos;
      if (letters->find_first_not_of("gins") != std::string::npos)
        return fail({"unknown flags `" + *letters + "`"});
      const bool is_constant = node.parts[0].kind == Kind::kLiteral &&
                               (node.parts.size() == 1 || node.parts[1].kind == Kind::kLiteral);
      if (is_constant && node.regex)
        return out({node.regex->search(*text, effort_)});
      const std::string dotted = letters->find('s') != std::string::npos ? "(?s)" : "";
      auto regex =
          Regex::compile(dotted + *expression, is_folded ? RegexCase::kFold : RegexCase::kExact);
      if (!regex)
        return fail({regex.error().what});
      const bool is_found = regex->search(*text, effort_);
      if (is_constant)
        node.regex = std::move(*regex);
      return effort_.was_spent() ? Flow::kStop : out({is_found});
    };
    return node.parts.size() == 1 ? search({std::string()}) : run(node.parts[1], in, scope, search);
  });
}

}  // namespace

JqProgram::JqProgram(std::unique_ptr<Node> root) : root_(std::move(root)) {}
JqProgram::JqProgram(JqProgram&&) noexcept = default;
JqProgram& JqProgram::operator=(JqProgram&&) noexcept = default;
JqProgram::~JqProgram() = default;

Result<JqProgram> JqProgram::compile(std::string_view program) {
  MIRRORD_TRY(root, jq::parse(program));
  return JqProgram(std::move(root));
}

void JqProgram::run(const JsonValue& input, Effort& effort,
                    const std::function<bool(const JsonValue&)>& output) const {
  Evaluation(effort).run(*root_, input, nullptr, [&output](const JsonValue& value) {
    return output(value) ? Flow::kGoOn : Flow::kStop;
  });
}

}  // namespace mirrord::net
