// applets/progress_tree.h — a tree of lines on a terminal, whose marks and texts change in place.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace mirrord {

enum class TreeMark { kOpen, kDone, kFailed, kWarning, kInfo };

struct TreeTerminal {
  unsigned columns = 80;
  unsigned rows = 24;
  bool moves = true;  // the cursor can be moved; false: lines are only added
  bool has_colours = true;
};

// Its size; where it has none, a usual one.
TreeTerminal terminal_size(int terminal);

class ProgressTree {
 public:
  // `write` gets whole escape sequences and lines. The cursor stays in the first column below the tree.
  ProgressTree(TreeTerminal terminal, std::function<void(std::string_view)> write);

  // Returns the line's number, for `change`. What is too long for one row goes on below.
  std::size_t add(TreeMark mark, unsigned depth, std::string_view text);
  // In place, if the line is still on the screen; else it is added again.
  void change(std::size_t line, TreeMark mark, std::string_view text);
  // What stands now is not touched any more: something else may have been written below it.
  void settle();

 private:
  struct Line {
    unsigned depth;
    std::vector<std::string> rows;
  };
  std::vector<std::string> rows_of(TreeMark mark, unsigned depth, std::string_view text) const;
  std::string drawn(std::size_t first) const;  // that line and all below it

  TreeTerminal terminal_;
  std::function<void(std::string_view)> write_;
  std::vector<Line> lines_;
  std::size_t settled_ = 0;  // lines before this one stay as they are
};

}  // namespace mirrord
