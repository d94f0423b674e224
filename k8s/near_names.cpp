// k8s/near_names.cpp — edit distance, and names that extend one another.
#include "k8s/near_names.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace mirrord::k8s {
namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      const std::size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above + 1, row[j - 1] + 1, changed});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

std::vector<std::string> near_names(std::string_view wanted, const std::vector<std::string>& names,
                                    std::size_t count) {
  constexpr std::size_t kLongest = 253;  // of a Kubernetes name
  constexpr std::size_t kShortestPart = 3;
  if (wanted.empty() || wanted.size() > kLongest)
    return {};
  std::vector<std::pair<std::size_t, std::string>> scored;
  for (const std::string& name : names) {
    if (name.empty() || name.size() > kLongest)
      continue;
    const std::size_t shorter = std::min(name.size(), wanted.size());
    const bool extends = shorter >= kShortestPart && (name.find(wanted) != std::string::npos ||
                                                      wanted.find(name) != std::string::npos);
    const std::size_t distance = edit_distance(wanted, name);
    if (extends)
      scored.emplace_back(0, name);
    else if (distance <= std::max<std::size_t>(1, wanted.size() / 3))
      scored.emplace_back(distance, name);
  }
  std::ranges::sort(scored);
  std::vector<std::string> found;
  for (std::size_t i = 0; i < std::min(count, scored.size()); ++i)
    found.push_back(std::move(scored[i].second));
  return found;
}

}  // namespace mirrord::k8s
