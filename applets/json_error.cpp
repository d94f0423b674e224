// applets/json_error.cpp — errors for editor plugins.
#include "applets/json_error.h"

#include <cstdio>

#include "applets/config/load.h"
#include "applets/exec.h"
#include "applets/json_text.h"

namespace mirrord {

std::string json_error(const Error& error) {
  std::string text =
      "{\"message\": " + json_quoted(error.what) + ",\"severity\": \"error\",\"causes\": []";
  if (!error.hint.empty())
    text += ",\"help\": " + json_quoted(error.hint);
  return text + ",\"labels\": [],\"related\": []}";
}

Error config_error(const std::vector<Error>& errors) {
  Error all = errors.front();
  all.what = "Failed to verify mirrord config: " + all.what;
  for (std::size_t i = 1; i < errors.size(); ++i)
    all.what += "; " + errors[i].what;
  return all;
}

int report_error_to_editor(const Error& error) {
  if (config::process_environment("MIRRORD_CONSOLE_ADDR"))
    return report_error(error);
  std::fputs(("Error: " + json_error(error) + "\n").c_str(), stderr);
  return error.code == ErrorCode::kUsage ? 2 : 1;
}

}  // namespace mirrord
