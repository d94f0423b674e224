// applets/config/template.cpp — a small, loud subset of the template language of the original.
#include "applets/config/template.h"

#include "applets/config/message.h"
#include "applets/config/node.h"
#include "applets/config/text_file.h"

namespace mirrord::config {
namespace {

constexpr std::string_view kHint =
    "Use {{ get_env(name=\"X\", default=\"y\") }}, {{ key }} or {{ git_branch }}.";
constexpr std::size_t kLongestExpression = 4096;

std::string_view trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos)
    return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

// The branch that .git/HEAD of this or a parent directory names.
std::optional<std::string> git_branch(const Environment& environment) {
  if (const auto name = environment("MIRRORD_BRANCH_NAME"); name && !name->empty())
    return name;
  constexpr std::string_view kPrefix = "ref: refs/heads/";
  std::string up;
  for (int level = 0; level < 32; ++level, up += "../") {
    const auto head = read_text_file(up + ".git/HEAD", 4096);
    if (!head)
      continue;
    if (!head->starts_with(kPrefix))
      return std::nullopt;
    return std::string(trim(std::string_view(*head).substr(kPrefix.size())));
  }
  return std::nullopt;
}

// Takes NAME="VALUE" (either quote) from the front of `text`.
bool take_argument(std::string_view& text, std::string& name, std::string& value) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos)
    return false;
  name = trim(text.substr(0, equals));
  text = trim(text.substr(equals + 1));
  if (text.empty() || (text[0] != '"' && text[0] != '\'' && text[0] != '`'))
    return false;
  const std::size_t end = text.find(text[0], 1);
  if (end == std::string_view::npos)
    return false;
  value = text.substr(1, end - 1);
  text = trim(text.substr(end + 1));
  if (!text.empty() && text[0] == ',')
    text = trim(text.substr(1));
  return true;
}

class Renderer {
 public:
  Renderer(std::string_view text, const TemplateContext& context)
      : text_(text), context_(context) {}

  Result<std::string> run() {
    std::string out;
    while (at_ < text_.size()) {
      const std::size_t open = text_.find('{', at_);
      if (open == std::string_view::npos || open + 1 >= text_.size()) {
        out += text_.substr(at_);
        break;
      }
      out += text_.substr(at_, open - at_);
      at_ = open;
      const char second = text_[open + 1];
      if (second == '%')
        return error("the template block `" + block(open) + "` is not supported", kHint);
      if (second != '{' && second != '#') {
        out += '{';
        ++at_;
        continue;
      }
      const std::string_view closing = second == '{' ? "}}" : "#}";
      const std::size_t close = text_.find(closing, open + 2);
      if (close == std::string_view::npos)
        return error("the template " + std::string(second == '{' ? "expression" : "comment") +
                         " has no closing " + std::string(closing),
                     second == '{' ? kHint : "A comment is written {# … #}.");
      if (second == '{') {
        const std::string_view source = trim(text_.substr(open + 2, close - open - 2));
        // One that is not closed takes all up to the next one's end.
        if (source.find("{{") != std::string_view::npos || source.size() > kLongestExpression)
          return error("the template expression has no closing }}", kHint);
        MIRRORD_TRY(value, expression(source));
        out += value;
      }
      at_ = close + 2;
    }
    return out;
  }

 private:
  std::unexpected<Error> error(std::string what, std::string_view hint) const {
    return fail(
        ErrorCode::kConfig,
        std::string(context_.name) + ":" + position_text(text_, at_) + ": " + std::move(what),
        std::string(hint));
  }

  Result<std::string> expression(std::string_view source) const {
    if (source == "key")
      return std::string(context_.key);
    if (source == "git_branch" || source.starts_with("git_branch ") ||
        source.starts_with("git_branch|"))
      return branch(source);
    constexpr std::string_view kCall = "get_env(";
    if (source.starts_with(kCall) && source.ends_with(')'))
      return get_env(source.substr(kCall.size(), source.size() - kCall.size() - 1));
    return unsupported(source);
  }

  std::unexpected<Error> unsupported(std::string_view source) const {
    if (source.empty())
      return error("the template expression is empty", kHint);
    // One that is not closed goes on to the next one's end.
    const std::string_view line = source.substr(0, source.find('\n'));
    return error("the template expression `" + quotable(line) +
                     (line.size() < source.size() ? "…` is not supported, or has no closing }}"
                                                  : "` is not supported"),
                 kHint);
  }

  // As far as `%}`, or the line's end.
  std::string block(std::size_t at) const {
    const std::string_view line = text_.substr(at, text_.find('\n', at) - at);
    const std::size_t end = line.find("%}");
    return quotable(end == std::string_view::npos ? line : line.substr(0, end + 2));
  }

  // `git_branch`, or with a value for where there is none: `git_branch | default(value="x")`.
  Result<std::string> branch(std::string_view source) const {
    std::string_view filter = trim(source.substr(std::string_view("git_branch").size()));
    std::optional<std::string> fallback;
    if (!filter.empty()) {
      constexpr std::string_view kCall = "default(";
      filter = filter.starts_with('|') ? trim(filter.substr(1)) : "";
      std::string name;
      std::string value;
      if (!filter.starts_with(kCall) || !filter.ends_with(')'))
        return unsupported(source);
      filter = filter.substr(kCall.size(), filter.size() - kCall.size() - 1);
      if (!take_argument(filter, name, value) || name != "value" || !filter.empty())
        return unsupported(source);
      fallback = value;
    }
    if (auto found = git_branch(*context_.environment))
      return std::move(*found);
    if (fallback)
      return std::move(*fallback);
    return error("the template variable `git_branch` has no value here",
                 "Set MIRRORD_BRANCH_NAME, run inside a git repository on a branch, or write "
                 "{{ git_branch | default(value=\"x\") }}.");
  }

  Result<std::string> get_env(std::string_view arguments) const {
    const std::string_view all = arguments;
    std::optional<std::string> variable;
    std::optional<std::string> fallback;
    for (arguments = trim(arguments); !arguments.empty();) {
      std::string name;
      std::string value;
      if (!take_argument(arguments, name, value) || (name != "name" && name != "default"))
        return error("the template expression `get_env(" + quotable(all) + ")` is not supported",
                     "get_env takes name=\"X\" and default=\"y\", each in quotes.");
      (name == "name" ? variable : fallback) = value;
    }
    if (!variable)
      return error("the template expression `get_env(" + quotable(all) + ")` names no variable",
                   "Write get_env(name=\"X\").");
    if (auto value = (*context_.environment)(*variable))
      return std::move(*value);
    if (fallback)
      return std::move(*fallback);
    return error("the environment variable `" + *variable + "` is not set",
                 "Set it, or give get_env a default=\"…\".");
  }

  std::string_view text_;
  const TemplateContext& context_;
  std::size_t at_ = 0;
};

}  // namespace

bool has_template(std::string_view text) {
  return text.find("{{") != std::string_view::npos || text.find("{%") != std::string_view::npos ||
         text.find("{#") != std::string_view::npos;
}

Result<std::string> render_template(std::string_view text, const TemplateContext& context) {
  return Renderer(text, context).run();
}

}  // namespace mirrord::config
