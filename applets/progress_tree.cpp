// applets/progress_tree.cpp — cuts texts into rows of the terminal, so that it is known how far up a line is.
#include "applets/progress_tree.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <utility>

namespace mirrord {
namespace {

constexpr unsigned kLeastColumns = 20;  // below, rows would hold no words

struct Look {
  std::string_view sign;
  std::string_view
      colour;  // of the sign alone: the terminal's own colours, which suit its background
};

Look look_of(TreeMark mark) {
  switch (mark) {
    case TreeMark::kOpen:
      return {"•", "\x1b[36m"};
    case TreeMark::kDone:
      return {"✓", "\x1b[32m"};
    case TreeMark::kFailed:
      return {"x", "\x1b[31m"};
    case TreeMark::kWarning:
      return {"!", "\x1b[33m"};
    case TreeMark::kInfo:
      break;
  }
  return {"*", "\x1b[34m"};
}

std::size_t character_bytes(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

// Columns of a character at most: a row may end early, never late.
std::size_t character_columns(std::string_view character) {
  const auto byte = static_cast<unsigned char>(character[0]);
  const bool may_be_wide = byte > 0xE1 || (byte == 0xE1 && character.size() > 1 &&
                                           static_cast<unsigned char>(character[1]) >= 0x84);
  return may_be_wide ? 2 : 1;
}

// Whatever could move the cursor is not what was counted: C0, DEL, and C1 in its two bytes.
void blank_controls(std::string& row) {
  for (std::size_t i = 0; i < row.size(); ++i) {
    const auto byte = static_cast<unsigned char>(row[i]);
    if (byte < 0x20 || byte == 0x7F)
      row[i] = ' ';
    else if (byte == 0xC2 && i + 1 < row.size() && static_cast<unsigned char>(row[i + 1]) < 0xA0)
      row.replace(i, 2, " ");
  }
}

// Takes the next row off the text: as many words as fit, or a part of one that does not fit at all.
std::string take_row(std::string_view& text, std::size_t columns) {
  std::size_t used = 0;
  std::size_t at = 0;
  std::size_t last_blank = 0;
  while (at < text.size() && text[at] != '\n') {
    const std::string_view character =
        text.substr(at, std::min(character_bytes(text[at]), text.size() - at));
    const std::size_t wide = character_columns(character);
    if (used + wide > columns)
      break;
    if (text[at] == ' ')
      last_blank = at;
    used += wide;
    at += character.size();
  }
  const bool is_cut = at < text.size() && text[at] != '\n' && text[at] != ' ';
  const std::size_t end = is_cut && last_blank > 0 ? last_blank : at;
  std::string row(text.substr(0, end));
  text.remove_prefix(end);
  if (!text.empty() && (text[0] == ' ' || text[0] == '\n'))
    text.remove_prefix(1);
  blank_controls(row);
  return row;
}

}  // namespace

TreeTerminal terminal_size(int terminal) {
  TreeTerminal size;
  winsize window{};
  if (::ioctl(terminal, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 && window.ws_row > 0) {
    size.columns = window.ws_col;
    size.rows = window.ws_row;
  }
  return size;
}

ProgressTree::ProgressTree(TreeTerminal terminal, std::function<void(std::string_view)> write)
    : terminal_(terminal), write_(std::move(write)) {}

std::size_t ProgressTree::add(TreeMark mark, unsigned depth, std::string_view text) {
  lines_.push_back({depth, rows_of(mark, depth, text)});
  write_(drawn(lines_.size() - 1));
  return lines_.size() - 1;
}

void ProgressTree::change(std::size_t line, TreeMark mark, std::string_view text) {
  std::size_t above = 0;  // rows from the line's first one to the cursor
  for (std::size_t i = line; i < lines_.size(); ++i)
    above += lines_[i].rows.size();
  const unsigned depth = lines_[line].depth;
  if (!terminal_.moves || line < settled_ || above >= terminal_.rows) {
    add(mark, depth, text);
    return;
  }
  // From the changed line on everything is drawn again: it may have another number of rows.
  lines_[line].rows = rows_of(mark, depth, text);
  write_("\x1b[" + std::to_string(above) + "A\r\x1b[J" + drawn(line));
}

void ProgressTree::settle() {
  settled_ = lines_.size();
}

std::vector<std::string> ProgressTree::rows_of(TreeMark mark, unsigned depth,
                                               std::string_view text) const {
  const std::size_t indent = std::size_t{depth} * 2;
  // The last column stays free: some terminals go on to the next row behind it.
  const std::size_t columns =
      std::max(terminal_.columns, kLeastColumns + depth * 2 + 3) - indent - 3;
  const Look look = look_of(mark);
  std::string sign(look.sign);
  if (terminal_.has_colours)
    sign = std::string(look.colour) + sign + "\x1b[0m";
  std::vector<std::string> rows = {std::string(indent, ' ') + sign + " " + take_row(text, columns)};
  while (!text.empty())
    rows.push_back(std::string(indent + 2, ' ') + take_row(text, columns));
  return rows;
}

std::string ProgressTree::drawn(std::size_t first) const {
  std::string out;
  for (std::size_t i = first; i < lines_.size(); ++i) {
    for (const std::string& row : lines_[i].rows)
      out += row + "\n";
  }
  return out;
}

}  // namespace mirrord
