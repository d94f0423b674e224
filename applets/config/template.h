// applets/config/template.h — the `{{ … }}` expressions of a configuration file.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "net/error.h"

namespace mirrord::config {

// Value of an environment variable, or nothing.
using Environment = std::function<std::optional<std::string>(std::string_view)>;

struct TemplateContext {
  std::string_view name;  // of the file, for messages
  std::string_view key;   // value of {{ key }}
  const Environment* environment;
};

bool has_template(std::string_view text);

// Replaces {{ key }}, {{ git_branch }} and {{ get_env(name="X", default="y") }} and drops
// {# comments #}. Anything else is an error that names it.
Result<std::string> render_template(std::string_view text, const TemplateContext& context);

}  // namespace mirrord::config
