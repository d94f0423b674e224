// k8s/near_names.cpp — names that extend one another, and those that are spelled alike.
#include "k8s/near_names.h"

#include <algorithm>
#include <utility>

#include "net/spelling.h"

namespace mirrord::k8s {
std::vector<std::string> near_names(std::string_view wanted, const std::vector<std::string>& names,
                                    std::size_t count) {
  constexpr std::size_t kShortestPart = 3;
  if (wanted.empty() || wanted.size() > net::kLongestWord)
    return {};
  std::vector<std::pair<std::size_t, std::string>> scored;
  for (const std::string& name : names) {
    if (name.empty() || name.size() > net::kLongestWord)
      continue;
    const std::size_t shorter = std::min(name.size(), wanted.size());
    const bool extends = shorter >= kShortestPart && (name.find(wanted) != std::string::npos ||
                                                      wanted.find(name) != std::string::npos);
    const std::size_t distance = net::edit_distance(wanted, name);
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
