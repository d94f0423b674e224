// applets/config/pattern_join.cpp — transformations of pattern trees that keep what they match.
#include "applets/config/pattern_join.h"

#include <utility>

namespace mirrord::config {
namespace {

using Kind = Pattern::Kind;
using Parts = std::vector<Pattern>;

// Repetitions at either side of a pattern need their least count only.
void trim_side(Pattern& pattern, bool at_front) {
  if (pattern.kind == Kind::kRepeat) {
    pattern.most = pattern.least;
    if (pattern.least == 0)
      pattern = Pattern{};
    else if (pattern.least == 1)
      trim_side(pattern.parts[0], at_front);
  } else if (pattern.kind == Kind::kAlternate) {
    for (Pattern& part : pattern.parts)
      trim_side(part, at_front);
  } else if (pattern.kind == Kind::kConcat) {
    while (!pattern.parts.empty()) {
      const auto side = at_front ? pattern.parts.begin() : pattern.parts.end() - 1;
      trim_side(*side, at_front);
      if (side->kind != Kind::kEmpty)
        return;
      pattern.parts.erase(side);
    }
    pattern = Pattern{};
  }
}

Pattern concat(Parts parts) {
  if (parts.size() == 1)
    return std::move(parts[0]);
  Pattern pattern;
  pattern.kind = parts.empty() ? Kind::kEmpty : Kind::kConcat;
  pattern.parts = std::move(parts);
  return pattern;
}

// `lists` without their first `depth` parts, which are the same in all.
Pattern join_lists(std::vector<Parts*> lists, std::size_t depth) {
  Parts alternatives;
  bool has_end = false;
  while (!lists.empty()) {
    Parts& first = *lists.front();
    if (first.size() == depth) {
      has_end = true;
      lists.erase(lists.begin());
      continue;
    }
    std::vector<Parts*> same;
    std::vector<Parts*> others;
    for (Parts* list : lists) {
      const bool is_same = list->size() > depth && (*list)[depth] == first[depth];
      (is_same ? same : others).push_back(list);
    }
    if (same.size() == 1) {
      alternatives.push_back(
          concat(Parts(std::make_move_iterator(first.begin() + static_cast<std::ptrdiff_t>(depth)),
                       std::make_move_iterator(first.end()))));
    } else {
      Parts parts{first[depth], join_lists(same, depth + 1)};
      alternatives.push_back(concat(std::move(parts)));
    }
    lists = std::move(others);
  }
  if (has_end)
    alternatives.emplace_back();
  if (alternatives.size() == 1)
    return std::move(alternatives[0]);
  Pattern pattern;
  pattern.kind = Kind::kAlternate;
  pattern.parts = std::move(alternatives);
  return pattern;
}

}  // namespace

void trim_for_search(Pattern& pattern) {
  trim_side(pattern, true);
  trim_side(pattern, false);
}

Pattern join_patterns(std::vector<Pattern> patterns) {
  std::vector<Parts> lists;
  lists.reserve(patterns.size());
  std::vector<Parts*> pointers;
  for (Pattern& pattern : patterns) {
    lists.push_back(pattern.kind == Kind::kConcat ? std::move(pattern.parts)
                                                  : Parts{std::move(pattern)});
    pointers.push_back(&lists.back());
  }
  return join_lists(std::move(pointers), 0);
}

}  // namespace mirrord::config
