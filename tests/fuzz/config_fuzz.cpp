// tests/fuzz/config_fuzz.cpp — any text as a configuration file: JSON, templates, keys, values.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "applets/config/check.h"
#include "applets/config/resolve.h"
#include "applets/config/settings_file.h"
#include "applets/config/toml.h"
#include "applets/config/yaml.h"

using namespace mirrord;
using namespace mirrord::config;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  LoadRequest request;
  request.environment = [](std::string_view name) -> std::optional<std::string> {
    return name.size() % 2 == 0 ? std::optional<std::string>("true") : std::nullopt;
  };
  const TemplateContext context{"fuzz", "key", &request.environment};
  const auto rendered = render_template(text, context);
  if (!rendered)
    return 0;
  // The first bytes choose the language, as the name's ending does.
  auto root = rendered->starts_with('{')     ? parse_json(*rendered, "fuzz")
              : rendered->starts_with("---") ? parse_yaml(*rendered, "fuzz")
                                             : parse_toml(*rendered, "fuzz");
  if (!root)
    return 0;
  const File file{"fuzz", *rendered, std::move(*root)};
  std::vector<Error> errors;
  check_keys(file, errors);
  for (const Error& error : errors) {
    if (error.what.empty())
      std::abort();
  }
  if (!errors.empty())
    return 0;
  request.environment = [](std::string_view) { return std::nullopt; };
  Values values(request, &file, errors);
  ResolvedConfig config = resolve(values, request.environment);
  verify(config, values, true);
  // What verifies must also become a settings page, or be refused as too complex.
  if (errors.empty()) {
    const auto page = build_settings(config, {});
    if (!page && page.error().what.find("too ") == std::string::npos)
      std::abort();
  }
  return 0;
}
