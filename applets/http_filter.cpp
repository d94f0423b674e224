// applets/http_filter.cpp — compiles filters of HTTP requests and matches them.
#include "applets/http_filter.h"

#include <algorithm>
#include <variant>

#include "net/query/jq.h"
#include "net/query/json_path.h"
#include "net/query/regex.h"

namespace mirrord {
namespace {

using net::Effort;
using net::Regex;
using net::http::RequestHead;
using Verdict = CompiledHttpFilter::Verdict;

std::string_view method_text(const proto::HttpMethodFilter& method) {
  if (const auto* other = method.get_if<"Other">())
    return *other;
  return method.name();
}

// One request while it is asked about.
class Question {
 public:
  enum class BodyState { kNotRead, kRead, kUnavailable };

  Question(const RequestHead& head, BodyState body_state, std::span<const std::byte> body)
      : head_(head),
        body_state_(body_state),
        body_(body),
        effort_(CompiledHttpFilter::kTimeLimit) {}

  // "name: value" of each field that can be asked about; made once.
  const std::vector<std::string>& header_lines() {
    if (lines_)
      return *lines_;
    lines_.emplace();
    lines_->reserve(head_.headers.size());
    for (const auto& [name, value] : head_.headers) {
      const bool is_visible =
          std::ranges::all_of(value, [](char c) { return (c >= ' ' && c <= '~') || c == '\t'; });
      if (!is_visible)
        continue;
      std::string& line = lines_->emplace_back();
      line.reserve(name.size() + 2 + value.size());
      for (const char c : name)
        line += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      line += ": ";
      line += value;
    }
    return *lines_;
  }

  // With the query; empty: the request has none ("CONNECT host:port").
  [[nodiscard]] std::string_view target() const {
    std::string_view target = head_.target;
    const std::size_t scheme = target.find("://");
    const bool is_absolute = !target.starts_with('/') && scheme != std::string_view::npos;
    if (is_absolute) {
      target.remove_prefix(scheme + 3);
      const std::size_t end = target.find_first_of("/?");
      target = end == std::string_view::npos ? "/" : target.substr(end);
    } else if (!target.starts_with('/') && target != "*") {
      return {};
    }
    return target.substr(0, target.find('#'));
  }

  // Null: it is no JSON.
  const net::JsonValue* json() {
    if (!json_) {
      auto parsed = net::JsonValue::parse(net::http::as_text(body_));
      json_ = parsed ? std::optional(std::move(*parsed)) : std::nullopt;
    }
    return *json_ ? &**json_ : nullptr;
  }

  [[nodiscard]] const RequestHead& head() const { return head_; }
  [[nodiscard]] BodyState body_state() const { return body_state_; }
  Effort& effort() { return effort_; }

 private:
  const RequestHead& head_;
  BodyState body_state_;
  std::span<const std::byte> body_;
  Effort effort_;
  std::optional<std::vector<std::string>> lines_;
  std::optional<std::optional<net::JsonValue>> json_;
};

struct HeaderPart {
  Regex regex;
};
struct PathPart {
  Regex regex;
};
struct MethodPart {
  std::string method;
};
struct BodyPart {
  net::JsonPath query;
  Regex matches;
};
struct JqPart {
  net::JqProgram program;
};

bool matches(const HeaderPart& part, Question& question) {
  return std::ranges::any_of(question.header_lines(), [&](const std::string& line) {
    return part.regex.search(line, question.effort());
  });
}

bool matches(const PathPart& part, Question& question) {
  const std::string_view target = question.target();
  if (target.empty())
    return false;
  const std::string_view path = target.substr(0, target.find('?'));
  return part.regex.search(path, question.effort()) ||
         (path.size() < target.size() && part.regex.search(target, question.effort()));
}

bool matches(const MethodPart& part, Question& question) {
  return net::http::equals_ignoring_case(part.method, question.head().method);
}

bool matches(const BodyPart& part, Question& question) {
  const net::JsonValue* document = question.json();
  if (document == nullptr)
    return false;
  const auto nodes = part.query.find(*document, question.effort());
  return std::ranges::any_of(nodes, [&](const net::JsonValue* node) {
    const auto* text = node->as<std::string>();
    return part.matches.search(text != nullptr ? *text : node->dump(), question.effort());
  });
}

bool matches(const JqPart& part, Question& question) {
  return std::ranges::any_of(question.header_lines(), [&](const std::string& line) {
    bool decision = false;
    part.program.run({line}, question.effort(), [&decision](const net::JsonValue& value) {
      const bool* boolean = value.as<bool>();
      decision = boolean != nullptr && *boolean;
      return boolean == nullptr;
    });
    return decision && !question.effort().was_spent();
  });
}

}  // namespace

struct CompiledHttpFilter::Part {
  struct All {
    std::vector<Part> parts;
  };
  struct Any {
    std::vector<Part> parts;
  };
  std::variant<All, Any, HeaderPart, PathPart, MethodPart, BodyPart, JqPart> kind;

  static Result<Part> compile(const proto::HttpFilter& filter);
  static Result<Part> compile_composite(const proto::HttpFilterComposite& composite);

  [[nodiscard]] bool may_need_body() const {
    if (const auto* all = std::get_if<All>(&kind))
      return std::ranges::any_of(all->parts, &Part::may_need_body);
    if (const auto* any = std::get_if<Any>(&kind))
      return std::ranges::any_of(any->parts, &Part::may_need_body);
    return std::holds_alternative<BodyPart>(kind);
  }

  // kMatch, kNoMatch or kNeedsBody.
  Verdict evaluate(Question& question) const {
    if (const auto* all = std::get_if<All>(&kind))
      return evaluate(all->parts, Verdict::kNoMatch, Verdict::kMatch, question);
    if (const auto* any = std::get_if<Any>(&kind))
      return evaluate(any->parts, Verdict::kMatch, Verdict::kNoMatch, question);
    if (std::holds_alternative<BodyPart>(kind)) {
      if (question.body_state() == Question::BodyState::kNotRead)
        return Verdict::kNeedsBody;
      if (question.body_state() == Question::BodyState::kUnavailable)
        return Verdict::kNoMatch;
    }
    const bool is_match = std::visit(
        [&question](const auto& part) {
          if constexpr (requires { matches(part, question); })
            return matches(part, question);
          return false;
        },
        kind);
    return is_match ? Verdict::kMatch : Verdict::kNoMatch;
  }

  // `decisive` of one part ends it; without one it is `otherwise`, unless a part needs the body.
  static Verdict evaluate(const std::vector<Part>& parts, Verdict decisive, Verdict otherwise,
                          Question& question) {
    Verdict result = otherwise;
    for (const Part& part : parts) {
      const Verdict verdict = part.evaluate(question);
      if (verdict == decisive || question.effort().was_spent())
        return verdict;
      if (verdict == Verdict::kNeedsBody)
        result = verdict;
    }
    return result;
  }
};

Result<CompiledHttpFilter::Part> CompiledHttpFilter::Part::compile_composite(
    const proto::HttpFilterComposite& composite) {
  std::vector<Part> parts;
  for (const proto::HttpFilter& filter : composite.filters) {
    MIRRORD_TRY(part, compile(filter));
    parts.push_back(std::move(part));
  }
  Part whole;
  if (composite.all)
    whole.kind = All{std::move(parts)};
  else
    whole.kind = Any{std::move(parts)};
  return whole;
}

Result<CompiledHttpFilter::Part> CompiledHttpFilter::Part::compile(
    const proto::HttpFilter& filter) {
  if (const auto* composite = filter.get_if<"Composite">())
    return compile_composite(*composite);
  if (const auto* expression = filter.get_if<"Header">()) {
    MIRRORD_TRY(regex, Regex::compile(*expression, net::RegexCase::kFold));
    return Part{HeaderPart{std::move(regex)}};
  }
  if (const auto* expression = filter.get_if<"Path">()) {
    MIRRORD_TRY(regex, Regex::compile(*expression, net::RegexCase::kFold));
    return Part{PathPart{std::move(regex)}};
  }
  if (const auto* method = filter.get_if<"Method">())
    return Part{MethodPart{std::string(method_text(*method))}};
  if (const auto* program = filter.get_if<"HeaderJq">()) {
    MIRRORD_TRY(compiled, net::JqProgram::compile(*program));
    return Part{JqPart{std::move(compiled)}};
  }
  if (const auto* body = filter.get_if<"Body">()) {
    const proto::HttpBodyFilterJson& json = body->get<"Json">();
    MIRRORD_TRY(query, net::JsonPath::compile(json.query));
    MIRRORD_TRY(regex, Regex::compile(json.matches, net::RegexCase::kExact));
    return Part{BodyPart{std::move(query), std::move(regex)}};
  }
  return fail(ErrorCode::kPeer, "a filter of HTTP requests of an unknown kind");
}

CompiledHttpFilter::CompiledHttpFilter(std::unique_ptr<Part> root) : root_(std::move(root)) {}
CompiledHttpFilter::CompiledHttpFilter(CompiledHttpFilter&&) noexcept = default;
CompiledHttpFilter& CompiledHttpFilter::operator=(CompiledHttpFilter&&) noexcept = default;
CompiledHttpFilter::~CompiledHttpFilter() = default;

Result<CompiledHttpFilter> CompiledHttpFilter::compile(const proto::HttpFilter& filter) {
  MIRRORD_TRY(root, Part::compile(filter));
  return CompiledHttpFilter(std::make_unique<Part>(std::move(root)));
}

Verdict CompiledHttpFilter::match(const RequestHead& head) const {
  Question question(head, Question::BodyState::kNotRead, {});
  const Verdict verdict = root_->evaluate(question);
  return question.effort().was_spent() ? Verdict::kGaveUp : verdict;
}

Verdict CompiledHttpFilter::match(const RequestHead& head,
                                  std::optional<std::span<const std::byte>> body) const {
  Question question(head, body ? Question::BodyState::kRead : Question::BodyState::kUnavailable,
                    body.value_or(std::span<const std::byte>{}));
  const Verdict verdict = root_->evaluate(question);
  return question.effort().was_spent() ? Verdict::kGaveUp : verdict;
}

bool CompiledHttpFilter::may_need_body() const {
  return root_->may_need_body();
}

std::string describe(const proto::HttpFilter& filter) {
  if (const auto* expression = filter.get_if<"Header">())
    return "header ~ `" + *expression + "`";
  if (const auto* expression = filter.get_if<"Path">())
    return "path ~ `" + *expression + "`";
  if (const auto* method = filter.get_if<"Method">()) {
    std::string text(method_text(*method));
    std::ranges::transform(text, text.begin(), [](char c) {
      return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
    return "method " + text;
  }
  if (const auto* program = filter.get_if<"HeaderJq">())
    return "header | jq `" + *program + "`";
  if (const auto* body = filter.get_if<"Body">()) {
    const proto::HttpBodyFilterJson& json = body->get<"Json">();
    return "JSON body `" + json.query + "` ~ `" + json.matches + "`";
  }
  const auto* composite = filter.get_if<"Composite">();
  if (composite == nullptr)
    return "an unknown filter";
  std::string text;
  for (const proto::HttpFilter& part : composite->filters) {
    const bool is_nested = part.get_if<"Composite">() != nullptr;
    text += text.empty() ? "" : composite->all ? " and " : " or ";
    text += is_nested ? "(" + describe(part) + ")" : describe(part);
  }
  return text;
}

}  // namespace mirrord
