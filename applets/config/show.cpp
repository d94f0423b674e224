// applets/config/show.cpp — walks the table of keys and asks each one's source.
#include "applets/config/show.h"

#include <algorithm>
#include <cstddef>

#include "applets/config/node_json.h"
#include "applets/json_text.h"

namespace mirrord::config {
namespace {

// Values that are the user's secrets as likely as not; their names are none. `{}` stands for any
// name, and items of a list have the list's path. What stands below is hidden with them.
constexpr std::string_view kSecrets[] = {
    "feature.db_branches.connection.params.password",
    "feature.db_branches.connection.params.{}.value",
    "feature.db_branches.connection.password",
    "feature.db_branches.connection.url",
    "feature.db_branches.connection_settings",
    "feature.db_branches.env",
    "feature.db_branches.iam_auth.{}.{}",
    "feature.db_branches.migrations.env",
    "feature.db_branches.query_params",
    "feature.env.mapping",
    "feature.env.override",
    "feature.preview.secret_mounts.payload",
};
// As the table of keys has them; `[]` of a list is no name.
Names names_of(std::string_view path) {
  Names names;
  while (!path.empty()) {
    const std::string_view name = path.substr(0, path.find('.'));
    path.remove_prefix(std::min(name.size() + 1, path.size()));
    names.push_back(name.substr(0, name.find('[')));
  }
  return names;
}

// True if a secret stands at `names` or above; with `below`, also if one may stand below.
bool hides(const Names& names, bool below = false) {
  return std::ranges::any_of(kSecrets, [&](std::string_view secret) {
    const Names wanted = names_of(secret);
    const std::size_t common = std::min(wanted.size(), names.size());
    return (below || wanted.size() <= names.size()) &&
           std::equal(wanted.begin(), wanted.begin() + static_cast<std::ptrdiff_t>(common),
                      names.begin(), [](std::string_view pattern, std::string_view name) {
                        return pattern == "{}" || pattern == name;
                      });
  });
}

}  // namespace

std::string shown_text(const Key& key, std::string_view text) {
  if (hides(names_of(key.path), true))
    return json_quoted(kHidden);
  return text_json(key.type, text);
}

namespace {

// Whether a key below `path` has that variable.
bool has_member_of(std::string_view path, std::string_view variable) {
  return std::ranges::any_of(all_keys(), [&](const Key& key) {
    return key.environment == variable && key.path.size() > path.size() &&
           key.path.starts_with(path) && key.path[path.size()] == '.';
  });
}

}  // namespace

std::vector<ShownValue> shown_values(const Values& values, const File* file) {
  std::vector<ShownValue> shown;
  for (const Key& key : all_keys()) {
    if (key.path.find_first_of("[{") != std::string_view::npos)
      continue;  // shown as part of its list or map
    const bool is_parent =
        has_children(key.path) && find_key(std::string(key.path) + ".{}") == nullptr;
    if (const auto outside = values.outside(key.path)) {
      if (is_parent && has_member_of(key.path, key.environment))
        continue;  // a short form: its member says it
      // MIRRORD_AGENT_TCP_STEAL_TRAFFIC is a yes or no about one of three words.
      const bool is_mode = key.words == "mirror|steal|off";
      const std::string_view text = is_mode && outside->text == "true" ? "steal"
                                    : is_mode && outside->text == "false"
                                        ? "mirror"
                                        : std::string_view(outside->text);
      shown.push_back({key.path, shown_text(key, text), outside->source, false});
      continue;
    }
    const Node* node = values.node(key.path);
    // An object speaks by its members; a shorter form for itself.
    if (node != nullptr && !(is_parent && node->type == Node::Type::kObject)) {
      const auto is_hidden = [](const Names& names) { return hides(names); };
      shown.push_back({key.path, node_json(*node, is_hidden, names_of(key.path)),
                       file->name + ":" + position_text(file->text, node->offset), false});
    } else if (node == nullptr && !is_parent && !key.default_text.empty() &&
               (key.marks & (kOperator | kDeprecated)) == 0) {
      shown.push_back({key.path, shown_text(key, key.default_text), "default", true});
    }
  }
  return shown;
}

}  // namespace mirrord::config
