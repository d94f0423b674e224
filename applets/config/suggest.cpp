// applets/config/suggest.cpp — edit distance and the choice of the nearest word.
#include "applets/config/suggest.h"

#include <algorithm>
#include <vector>

namespace mirrord::config {
namespace {

constexpr std::size_t kLongestWord = 64;

char folded(char c) {
  if (c >= 'A' && c <= 'Z')
    return static_cast<char>(c - 'A' + 'a');
  return c == '-' ? '_' : c;
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  if (a.size() > kLongestWord || b.size() > kLongestWord)
    return kLongestWord;
  const std::size_t width = b.size() + 1;
  std::vector<std::size_t> cell((a.size() + 1) * width);
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      std::size_t& here = cell[i * width + j];
      if (i == 0 || j == 0) {
        here = i + j;
        continue;
      }
      const bool same = folded(a[i - 1]) == folded(b[j - 1]);
      here = std::min({cell[(i - 1) * width + j] + 1, cell[i * width + j - 1] + 1,
                       cell[(i - 1) * width + j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) &&
          folded(a[i - 2]) == folded(b[j - 1]))
        here = std::min(here, cell[(i - 2) * width + j - 2] + 1);
    }
  }
  return cell.back();
}

void Nearest::offer(std::string_view word, std::string_view result) {
  const std::size_t distance = edit_distance(wanted_, word);
  if (distance < least_ && distance < word.size()) {
    least_ = distance;
    found_ = result;
  }
}

}  // namespace mirrord::config
