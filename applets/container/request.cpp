// applets/container/request.cpp — the common directory's files, as JSON.
#include "applets/container/request.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string_view>
#include <utility>

#include "applets/json_text.h"
#include "k8s/json.h"
#include "net/fd.h"

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

Result<std::string> read_whole(const std::string& path) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file)
    return fail_system("read " + path, errno);
  std::string text;
  std::array<char, 16384> piece;
  for (;;) {
    const ssize_t count = read(file.get(), piece.data(), piece.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return fail_system("read " + path, errno);
    if (count == 0)
      return text;
    text.append(piece.data(), static_cast<std::size_t>(count));
    if (text.size() > kLargest)
      return fail(ErrorCode::kConfig, "read " + path + ": it is larger than 64 MiB");
  }
}

Status write_whole(const std::string& path, std::string_view text) {
  const Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  while (file && !text.empty()) {
    const ssize_t count = write(file.get(), text.data(), text.size());
    if (count < 0 && errno != EINTR)
      break;
    text.remove_prefix(count > 0 ? static_cast<std::size_t>(count) : 0);
  }
  if (!text.empty() || !file)
    return fail_system("write " + path, errno);
  return {};
}

Status write_request(const std::string& directory, const config::LoadRequest& load,
                     const std::string& key) {
  std::string name;
  if (!load.file.empty()) {
    name = load.file.substr(load.file.rfind('/') + 1);
    MIRRORD_TRY(text, read_whole(load.file));
    MIRRORD_CHECK_STATUS(write_whole(directory + "/" + name, text));
  }
  std::string overrides = override_json("MIRRORD_KEY", key, "--key");
  for (const auto& [variable, given] : load.overrides) {
    if (variable != "MIRRORD_KEY")
      overrides += "," + override_json(variable, given.value, given.flag);
  }
  return write_whole(directory + kRequestName, "{\"file\":" + json_quoted(name) +
                                                   ",\"overrides\":{" + overrides +
                                                   "},\"environment\":" + environment_json() + "}");
}

Result<config::LoadRequest> read_request(const std::string& directory) {
  MIRRORD_TRY(text, read_whole(directory + kRequestName));
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
  return write_whole(directory + kOutcomeName, text);
}

Result<RemoteEnvironment> read_outcome(const std::string& directory) {
  MIRRORD_TRY(text, read_whole(directory + kOutcomeName));
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
