// k8s/kubeconfig.cpp — reads kubeconfig files and merges them by kubectl's rules.
#include "k8s/kubeconfig.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "k8s/yaml.h"
#include "net/fd.h"

namespace mirrord::k8s {
namespace {

std::string variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe): only read
  return value == nullptr ? "" : value;
}

std::string folder_of(const std::string& file) {
  std::string path = file;
  if (!path.starts_with('/')) {
    std::array<char, 4096> here{};
    if (::getcwd(here.data(), here.size()) != nullptr) {
      path = std::string(here.data()) + "/" + path;
    }
  }
  return path.substr(0, path.rfind('/') + 1);
}

Status take_entries(std::vector<KubeEntry>& into, JsonView list, std::string_view part,
                    const std::string& file) {
  if (list.is_present() && !list.is_array()) {
    return fail(ErrorCode::kConfig, file + ": `" + std::string(part) + "s` is not a list");
  }
  for (const JsonView item : list) {
    const std::string name(item["name"].text());
    if (!item["name"].is_string()) {
      return fail(ErrorCode::kConfig,
                  file + ": an entry of `" + std::string(part) + "s` has no `name`");
    }
    if (find_entry(into, name) == nullptr) {
      into.push_back({name, Json(item[part]), file, folder_of(file)});
    }
  }
  return {};
}

Status take_document(Kubeconfig& into, JsonView document, const std::string& file) {
  if (!document.is_present()) {
    return {};
  }
  const std::string_view kind = document["kind"].text("Config");
  const std::string_view version = document["apiVersion"].text("v1");
  if (!document.is_object() || kind != "Config" || version != "v1") {
    return fail(ErrorCode::kConfig,
                file + ": not a kubeconfig" +
                    (document.is_object() ? ": its kind is `" + std::string(kind) +
                                                "`, its apiVersion `" + std::string(version) + "`"
                                          : std::string()),
                "Name a file with `kind: Config` and `apiVersion: v1`.");
  }
  MIRRORD_CHECK_STATUS(take_entries(into.clusters, document["clusters"], "cluster", file));
  MIRRORD_CHECK_STATUS(take_entries(into.users, document["users"], "user", file));
  MIRRORD_CHECK_STATUS(take_entries(into.contexts, document["contexts"], "context", file));
  if (into.current_context.empty()) {
    into.current_context = document["current-context"].text();
  }
  return {};
}

}  // namespace

std::string Kubeconfig::sources() const {
  std::string text;
  for (std::size_t i = 0; i < files.size(); ++i) {
    text += i == 0 ? "" : i + 1 == files.size() ? " and " : ", ";
    text += "`" + files[i] + "`";
  }
  return text;
}

const KubeEntry* find_entry(const std::vector<KubeEntry>& entries, std::string_view name) {
  const auto found = std::ranges::find(entries, name, &KubeEntry::name);
  return found == entries.end() ? nullptr : &*found;
}

std::string expand_path(std::string_view path) {
  std::string out;
  if (path == "~" || path.starts_with("~/")) {
    out = variable("HOME");
    path.remove_prefix(1);
  }
  for (std::size_t at = 0; at < path.size(); ++at) {
    if (path[at] != '$') {
      out += path[at];
      continue;
    }
    const bool is_braced = at + 1 < path.size() && path[at + 1] == '{';
    const std::size_t begin = at + (is_braced ? 2 : 1);
    std::size_t end = begin;
    while (end < path.size() &&
           (std::isalnum(static_cast<unsigned char>(path[end])) != 0 || path[end] == '_')) {
      ++end;
    }
    if (end == begin || (is_braced && (end == path.size() || path[end] != '}'))) {
      out += '$';
      continue;
    }
    out += variable(std::string(path.substr(begin, end - begin)));
    at = is_braced ? end : end - 1;
  }
  return out;
}

std::vector<std::string> split_path_list(std::string_view list) {
  std::vector<std::string> paths;
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(':'), list.size());
    if (end > 0) {
      paths.push_back(expand_path(list.substr(0, end)));
    }
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return paths;
}

std::vector<std::string> usual_kubeconfig_files() {
  std::vector<std::string> files = split_path_list(variable("KUBECONFIG"));
  if (files.empty() && !variable("HOME").empty()) {
    files.push_back(variable("HOME") + "/.kube/config");
  }
  std::erase_if(files, [](const std::string& file) {
    return ::access(file.c_str(), F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR);
  });
  return files;
}

Status merge_kubeconfig(Kubeconfig& into, std::string bytes, const std::string& file) {
  MIRRORD_TRY(text, net::to_utf8(std::move(bytes), file));
  MIRRORD_TRY(documents, parse_yaml_documents(text, file));
  for (const Json& document : documents) {
    MIRRORD_CHECK_STATUS(take_document(into, document.view(), file));
  }
  return {};
}

Result<Kubeconfig> read_kubeconfig(const std::vector<std::string>& files) {
  Kubeconfig config;
  config.files = files;
  for (const std::string& file : files) {
    MIRRORD_TRY(bytes, read_file(file));
    MIRRORD_CHECK_STATUS(merge_kubeconfig(config, std::move(bytes), file));
  }
  return config;
}

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  const std::string tried = "reading `" + path + "`";
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) {
    return fail_system(tried, errno, "Check the path and its permissions.");
  }
  std::string text;
  std::array<char, 16384> piece;
  while (true) {
    const ssize_t count = ::read(file.get(), piece.data(), piece.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return fail_system(tried, errno);
    }
    if (count == 0) {
      return text;
    }
    text.append(piece.data(), static_cast<std::size_t>(count));
    if (text.size() > limit) {
      return fail(ErrorCode::kConfig,
                  tried + ": it has more than " + std::to_string(limit) + " bytes");
    }
  }
}

}  // namespace mirrord::k8s
