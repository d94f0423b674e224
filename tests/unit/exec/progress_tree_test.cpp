// tests/unit/exec/progress_tree_test.cpp — what is written to a terminal, and what it then shows.
#include "applets/progress_tree.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace mirrord {
namespace {

class Tree : public testing::Test {
 protected:
  ProgressTree tree(TreeTerminal terminal) {
    return {terminal, [this](std::string_view text) { written_ += text; }};
  }
  std::string written() { return std::exchange(written_, {}); }

 private:
  std::string written_;
};

constexpr TreeTerminal kPlain{.columns = 40, .rows = 10, .moves = true, .has_colours = false};

TEST_F(Tree, LinesChangeInPlace) {
  ProgressTree shown = tree(kPlain);
  const std::size_t root = shown.add(TreeMark::kOpen, 0, "root");
  const std::size_t step = shown.add(TreeMark::kOpen, 1, "step");
  shown.add(TreeMark::kInfo, 2, "info");
  EXPECT_EQ(written(), "• root\n  • step\n    * info\n");
  shown.change(step, TreeMark::kDone, "step");
  EXPECT_EQ(written(), "\x1b[2A\r\x1b[J  ✓ step\n    * info\n");
  shown.change(root, TreeMark::kFailed, "Oh");
  EXPECT_EQ(written(), "\x1b[3A\r\x1b[Jx Oh\n  ✓ step\n    * info\n");
}

TEST_F(Tree, OnlyTheSignHasAColour) {
  ProgressTree shown = tree({.columns = 40, .rows = 10, .moves = true, .has_colours = true});
  shown.add(TreeMark::kWarning, 1, "text");
  EXPECT_EQ(written(), "  \x1b[33m!\x1b[0m text\n");
}

TEST_F(Tree, LongTextsGoOnBelowAndCountTheirRows) {
  ProgressTree shown = tree({.columns = 30, .rows = 10, .moves = true, .has_colours = false});
  const std::size_t root = shown.add(TreeMark::kOpen, 0, "root");
  shown.add(TreeMark::kWarning, 1, "one two three four five six seven eight");
  EXPECT_EQ(written(), "• root\n  ! one two three four five\n    six seven eight\n");
  shown.change(root, TreeMark::kDone, "Ready!");
  EXPECT_EQ(written(),
            "\x1b[3A\r\x1b[J✓ Ready!\n  ! one two three four five\n    six seven eight\n");
  shown.add(TreeMark::kInfo, 0, std::string(60, 'x'));
  EXPECT_EQ(written(), "* " + std::string(27, 'x') + "\n  " + std::string(27, 'x') + "\n  " +
                           std::string(6, 'x') + "\n");
  shown.add(TreeMark::kInfo, 0, "日本語日本語日本語日本語日本語");
  EXPECT_EQ(written(), "* 日本語日本語日本語日本語日\n  本語\n");
}

TEST_F(Tree, NothingInATextMovesTheCursor) {
  ProgressTree shown = tree(kPlain);
  shown.add(TreeMark::kInfo, 0, "a\nb\r\x1b[2Jc\td\x7F");
  EXPECT_EQ(written(), "* a\n  b  [2Jc d \n");
  shown.add(TreeMark::kInfo, 0,
            "a\xC2\x9B"
            "2Jb\xC2\xA0");
  EXPECT_EQ(written(), "* a 2Jb\xC2\xA0\n");
  shown.add(TreeMark::kInfo, 0, "\xC3");
  shown.add(TreeMark::kInfo, 0, "\xF0\x9F");
  shown.add(TreeMark::kInfo, 0, "");
  EXPECT_EQ(written(), "* \xC3\n* \xF0\x9F\n* \n");
}

TEST_F(Tree, WhatIsOutOfReachIsWrittenAgain) {
  ProgressTree shown = tree({.columns = 40, .rows = 3, .moves = true, .has_colours = false});
  const std::size_t root = shown.add(TreeMark::kOpen, 0, "root");
  shown.add(TreeMark::kInfo, 1, "one");
  shown.add(TreeMark::kInfo, 1, "two");
  written();
  shown.change(root, TreeMark::kDone, "Ready!");
  EXPECT_EQ(written(), "✓ Ready!\n");
}

TEST_F(Tree, WhatSomeoneElseMayHaveWrittenOverStays) {
  ProgressTree shown = tree(kPlain);
  const std::size_t root = shown.add(TreeMark::kOpen, 0, "root");
  shown.settle();
  const std::size_t step = shown.add(TreeMark::kOpen, 1, "step");
  written();
  shown.change(step, TreeMark::kDone, "step");
  EXPECT_EQ(written(), "\x1b[1A\r\x1b[J  ✓ step\n");
  shown.change(root, TreeMark::kDone, "Ready!");
  EXPECT_EQ(written(), "✓ Ready!\n");
}

TEST_F(Tree, ATerminalThatCannotMoveGetsLines) {
  ProgressTree shown = tree({.columns = 1, .rows = 1, .moves = false, .has_colours = false});
  const std::size_t root = shown.add(TreeMark::kOpen, 0, "root");
  shown.change(root, TreeMark::kDone, "Ready!");
  EXPECT_EQ(written(), "• root\n✓ Ready!\n");
}

}  // namespace
}  // namespace mirrord
