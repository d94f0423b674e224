// net/spelling.cpp — edit distance and the choice of the nearest word.
#include "net/spelling.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace mirrord::net {
namespace {

char folded(char c) {
  if (c >= 'A' && c <= 'Z')
    return static_cast<char>(c - 'A' + 'a');
  return c == '-' ? '_' : c;
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  if (a.size() > kLongestWord || b.size() > kLongestWord)
    return kLongestWord;
  using Row = std::array<std::size_t, kLongestWord + 1>;
  std::array<Row, 3> rows;  // the present one and the two above it
  std::iota(rows[0].begin(), rows[0].begin() + static_cast<std::ptrdiff_t>(b.size()) + 1, 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    Row& row = rows[i % 3];
    const Row& above = rows[(i + 2) % 3];
    const Row& above_that = rows[(i + 1) % 3];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = folded(a[i - 1]) == folded(b[j - 1]);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) &&
          folded(a[i - 2]) == folded(b[j - 1]))
        row[j] = std::min(row[j], above_that[j - 2] + 1);
    }
  }
  return rows[a.size() % 3][b.size()];
}

void Nearest::offer(std::string_view word, std::string_view result) {
  const std::size_t distance = edit_distance(wanted_, word);
  if (distance < least_ && distance < word.size()) {
    least_ = distance;
    found_ = result;
  }
}

}  // namespace mirrord::net
