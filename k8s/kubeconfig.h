// k8s/kubeconfig.h — kubeconfig files, merged.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "k8s/json.h"
#include "net/error.h"

namespace mirrord::k8s {

// A named cluster, user or context.
struct KubeEntry {
  std::string name;
  Json body;
  std::string file;    // in which it stands, for messages
  std::string folder;  // to which its relative paths refer
};

struct Kubeconfig {
  std::vector<std::string> files;
  std::vector<KubeEntry> clusters, users, contexts;
  std::string current_context;

  // Where the entries stand, for messages: "`a` and `b`".
  [[nodiscard]] std::string sources() const;
};

const KubeEntry* find_entry(const std::vector<KubeEntry>& entries, std::string_view name);

// "~/x" and "$VAR/x", "${VAR}/x" in full; variables that are not set are empty.
std::string expand_path(std::string_view path);

// The paths of a list with `:` between them, expanded, without empty ones.
std::vector<std::string> split_path_list(std::string_view list);

// Which files kubectl reads: those of $KUBECONFIG that exist, or ~/.kube/config. May be empty.
std::vector<std::string> usual_kubeconfig_files();

// Adds what a file holds, in UTF-8 or UTF-16; of equal names the first one counts.
Status merge_kubeconfig(Kubeconfig& into, std::string bytes, const std::string& file);

// Reads all of them; of equal names the first one counts.
Result<Kubeconfig> read_kubeconfig(const std::vector<std::string>& files);

// A whole file of at most `limit` bytes.
Result<std::string> read_file(const std::string& path, std::size_t limit = 4 * 1024 * 1024);

}  // namespace mirrord::k8s
