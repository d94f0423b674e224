// applets/config/load.cpp — from a file's name to the resolved configuration.
#include "applets/config/load.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "applets/config/check.h"
#include "applets/config/resolve.h"
#include "applets/config/resolved_json.h"
#include "applets/config/show.h"
#include "applets/config/text_file.h"
#include "applets/config/toml.h"
#include "applets/config/yaml.h"
#include "proto/text.h"

namespace mirrord::config {
namespace {

constexpr std::size_t kLargestFile = 4 * 1024 * 1024;
// Stands for the key while the file's own `key` is being found.
constexpr std::string_view kKeyMarker = "mirrord-key-of-this-session";

std::string_view extension(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  const std::size_t dot = name.rfind('.');
  return dot == std::string_view::npos || dot == 0 ? std::string_view() : name.substr(dot + 1);
}

bool is_yaml(std::string_view end) {
  return end == "yaml" || end == "yml";
}

Status check_extension(std::string_view file) {
  const std::string_view end = extension(file);
  if (file == "-" || end.empty() || end == "json" || end == "toml" || is_yaml(end))
    return {};
  return fail(
      ErrorCode::kConfig,
      std::string(file) + ": unknown kind of configuration file `." + std::string(end) + "`",
      "The name must end in .json, .toml, .yaml or .yml.");
}

// All formats are UTF-8, and no setting can hold a zero byte.
Status check_text(std::string_view text, const std::string& name) {
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF"))
    return fail(ErrorCode::kConfig, name + ":1:1: the file is UTF-16", "Save it as UTF-8.");
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = proto::utf8_length(text.substr(at));
    if (length == 0 || text[at] == '\0')
      return fail(ErrorCode::kConfig,
                  name + ":" + position_text(text, at) +
                      (length == 0 ? ": a byte that is not UTF-8" : ": a zero byte"),
                  length == 0 ? "Save the file as UTF-8." : "Remove it: this is no text file.");
    at += length;
  }
  return {};
}

Result<Node> parse_file(std::string_view text, const std::string& name) {
  const std::string_view end = extension(name);
  if (is_yaml(end))
    return parse_yaml(text, name);
  return end == "toml" ? parse_toml(text, name) : parse_json(text, name);
}

std::string random_key() {
  uint32_t bits = 0;
  if (getrandom(&bits, sizeof bits, 0) != sizeof bits)
    bits = static_cast<uint32_t>(getpid());
  std::string key;
  for (int i = 0; i < 5; ++i, bits >>= 4)
    key += "0123456789abcdef"[bits & 15];
  return key;
}

struct SessionKey {
  std::string text;
  bool is_generated = false;
};

// The root `key` of the file, with its own template expressions rendered.
Result<std::optional<std::string>> key_of_file(const std::string& text, const std::string& name,
                                               const Environment& environment) {
  const TemplateContext context{name, kKeyMarker, &environment};
  MIRRORD_TRY(rendered, render_template(text, context));
  const auto root = parse_file(rendered, name);
  const Node* node = root ? root->member("key") : nullptr;
  if (node == nullptr || node->type != Node::Type::kString)
    return std::optional<std::string>();
  if (node->text.find(kKeyMarker) != std::string::npos)
    return fail(ErrorCode::kConfig,
                name + ":" + position_text(rendered, node->offset) + ": `key` refers to itself",
                "Use {{ key }} elsewhere, or give the key with --key.");
  return std::optional<std::string>(node->text);
}

class Loader {
 public:
  explicit Loader(const LoadRequest& request) : request_(request) {}

  std::expected<ResolvedConfig, std::vector<Error>> run() {
    auto key = load_file();
    if (!key)
      return std::unexpected(std::vector<Error>{std::move(key).error()});
    if (has_file_)
      check_keys(file_, errors_);
    if (!errors_.empty())
      return std::unexpected(std::move(errors_));
    Values values(request_, has_file_ ? &file_ : nullptr, errors_);
    ResolvedConfig config = resolve(values, request_.environment);
    config.key = std::move(key->text);
    config.key_is_generated = key->is_generated;
    if (has_file_)
      config.file = file_.name;
    verify(config, values, request_.is_target_final);
    if (!errors_.empty())
      return std::unexpected(std::move(errors_));
    return config;
  }

  std::expected<WholeConfig, std::vector<Error>> whole() {
    auto config = run();
    if (!config)
      return std::unexpected(std::move(config.error()));
    Values values(request_, has_file_ ? &file_ : nullptr, errors_);
    std::string json = resolved_json(*config, values, request_.environment);
    return WholeConfig{std::move(*config), std::move(json)};
  }

  std::expected<std::vector<ShownValue>, std::vector<Error>> show() {
    if (auto config = run(); !config)
      return std::unexpected(std::move(config.error()));
    const File* file = has_file_ ? &file_ : nullptr;
    return shown_values(Values(request_, file, errors_), file);
  }

 private:
  std::optional<std::string> key_from_outside() const {
    if (const auto found = request_.overrides.find("MIRRORD_KEY");
        found != request_.overrides.end())
      return found->second.value;
    return request_.environment("MIRRORD_KEY");
  }

  // Reads and parses the file; returns the session's key, which its templates may use.
  Result<SessionKey> load_file() {
    auto given = key_from_outside();
    if (request_.file.empty())
      return given ? SessionKey{*given, false} : SessionKey{random_key(), true};
    MIRRORD_CHECK_STATUS(check_extension(request_.file));
    MIRRORD_TRY(text, request_.text ? *request_.text : read_text_file(request_.file, kLargestFile));
    file_.name = request_.file == "-" ? "standard input" : request_.file;
    if (text.starts_with("\xEF\xBB\xBF"))
      text.erase(0, 3);
    MIRRORD_CHECK_STATUS(check_text(text, file_.name));
    SessionKey key{given.value_or(""), false};
    if (has_template(text)) {
      if (!given) {
        MIRRORD_TRY(own, key_of_file(text, file_.name, request_.environment));
        key = own ? SessionKey{*own, false} : SessionKey{random_key(), true};
      }
      const TemplateContext context{file_.name, key.text, &request_.environment};
      MIRRORD_TRY(rendered, render_template(text, context));
      text = std::move(rendered);
    }
    file_.text = std::move(text);
    MIRRORD_TRY(root, parse_file(file_.text, file_.name));
    file_.root = std::move(root);
    has_file_ = true;
    if (const Node* own = find_node(file_.root, "key"); own != nullptr && !given)
      key = {own->text, false};
    if (key.text.empty())
      key = {random_key(), true};
    return key;
  }

  const LoadRequest& request_;
  std::vector<Error> errors_;
  File file_;
  bool has_file_ = false;
};

}  // namespace

std::optional<std::string> process_environment(std::string_view name) {
  const std::string copy(name);
  const char* value = std::getenv(copy.c_str());  // NOLINT(concurrency-mt-unsafe): one thread
  return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
}

Status keep_standard_input(LoadRequest& request) {
  if (request.file == "-" && !request.text) {
    MIRRORD_TRY(text, read_text_file(request.file, kLargestFile));
    request.text = std::move(text);
  }
  return {};
}

std::expected<ResolvedConfig, std::vector<Error>> load(const LoadRequest& request) {
  return Loader(request).run();
}

std::expected<WholeConfig, std::vector<Error>> load_whole(const LoadRequest& request) {
  return Loader(request).whole();
}

std::expected<std::vector<ShownValue>, std::vector<Error>> show(const LoadRequest& request) {
  return Loader(request).show();
}

}  // namespace mirrord::config
