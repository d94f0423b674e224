// applets/container/request.cpp — the common directory's files, as JSON.
#include "applets/container/request.h"

#include <unistd.h>

#include <memory>
#include <string_view>
#include <utility>

#include "applets/json_text.h"
#include "k8s/json.h"
#include "net/file.h"

extern char** environ;

namespace mirrord::container {
namespace {

constexpr std::size_t kLargest = 64 << 20;
constexpr char kRequestName[] = "/request.json";
constexpr char kOutcomeName[] = "/outcome.json";

std::string environment_json() {
  std::string text;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view whole = *entry;
    const std::size_t equals = whole.find('=');
    if (equals != std::string_view::npos)
      text += (text.empty() ? "" : ",") + json_quoted(whole.substr(0, equals)) + ":" +
              json_quoted(whole.substr(equals + 1));
  }
  return "{" + text + "}";
}

std::string override_json(const std::string& variable, const std::string& value,
                          const std::string& flag) {
  return json_quoted(variable) + ":{\"value\":" + json_quoted(value) +
         ",\"flag\":" + json_quoted(flag) + "}";
}

}  // namespace

Status write_request(const std::string& directory, const config::LoadRequest& load,
                     const std::string& key) {
  std::string name;
  if (load.text) {
    name = "standard-input";  // a name without an end, like "-", says nothing of the format
    MIRRORD_CHECK_STATUS(net::write_private_file(directory + "/" + name, *load.text));
  } else if (!load.file.empty()) {
    name = load.file.substr(load.file.rfind('/') + 1);
    MIRRORD_TRY(text, net::read_file(load.file, kLargest));
    MIRRORD_CHECK_STATUS(net::write_private_file(directory + "/" + name, text));
  }
  std::string overrides = override_json("MIRRORD_KEY", key, "--key");
  for (const auto& [variable, given] : load.overrides) {
    if (variable != "MIRRORD_KEY")
      overrides += "," + override_json(variable, given.value, given.flag);
  }
  return net::write_private_file(directory + kRequestName,
                                 "{\"file\":" + json_quoted(name) + ",\"overrides\":{" + overrides +
                                     "},\"environment\":" + environment_json() + "}");
}

Result<config::LoadRequest> read_request(const std::string& directory) {
  MIRRORD_TRY(text, net::read_file(directory + kRequestName, kLargest));
  MIRRORD_TRY(json, k8s::Json::parse(text, "the session's request"));
  config::LoadRequest load;
  if (const std::string name(json["file"].text()); !name.empty())
    load.file = directory + "/" + name;
  for (const k8s::JsonView one : json["overrides"])
    load.overrides[std::string(one.key())] = {std::string(one["value"].text()),
                                              std::string(one["flag"].text())};
  auto environment = std::make_shared<RemoteEnvironment>();
  for (const k8s::JsonView one : json["environment"])
    environment->emplace(one.key(), one.text());
  load.environment = [environment](std::string_view name) -> std::optional<std::string> {
    const auto found = environment->find(std::string(name));
    return found == environment->end() ? std::nullopt : std::optional(found->second);
  };
  return load;
}

Status write_outcome(const std::string& directory, const Result<RemoteEnvironment>& outcome) {
  std::string text;
  if (outcome) {
    for (const auto& [name, value] : *outcome)
      text += (text.empty() ? "" : ",") + json_quoted(name) + ":" + json_quoted(value);
    text = "{\"environment\":{" + text + "}}";
  } else {
    const Error& error = outcome.error();
    text = "{\"error\":" + json_quoted(error.what) + ",\"hint\":" + json_quoted(error.hint) +
           ",\"code\":" + std::to_string(static_cast<int>(error.code)) + "}";
  }
  return net::write_private_file(directory + kOutcomeName, text);
}

Result<RemoteEnvironment> read_outcome(const std::string& directory) {
  MIRRORD_TRY(text, net::read_file(directory + kOutcomeName, kLargest));
  MIRRORD_TRY(json, k8s::Json::parse(text, "the session's outcome"));
  if (json["error"].is_string()) {
    const std::int64_t code = json["code"].number();
    const bool is_known = code >= 0 && code <= static_cast<std::int64_t>(ErrorCode::kInternal);
    return fail(is_known ? static_cast<ErrorCode>(code) : ErrorCode::kInternal,
                std::string(json["error"].text()), std::string(json["hint"].text()));
  }
  RemoteEnvironment environment;
  for (const k8s::JsonView one : json["environment"])
    environment.emplace(one.key(), one.text());
  return environment;
}

}  // namespace mirrord::container
