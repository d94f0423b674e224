// applets/config/code_ranges.h — sets of characters as sorted ranges.
#pragma once

#include <string_view>
#include <vector>

#include "applets/config/pattern.h"

namespace mirrord::config {

using CodeRanges = std::vector<CodeRange>;

inline constexpr uint32_t kLastCode = 0x10FFFF;
// kRawByte + B stands for the byte B where it is not part of UTF-8 text.
inline constexpr uint32_t kRawByte = 0x110000;

// Sorts and joins what overlaps or touches.
void normalise(CodeRanges& ranges);
// All other characters. `ranges` must be normalised.
CodeRanges complement(const CodeRanges& ranges);
// Adds the other case of every letter: ASCII, Latin, Greek and Cyrillic.
void add_other_case(CodeRanges& ranges);

CodeRanges digit_ranges();
CodeRanges space_ranges();
CodeRanges word_ranges();
// The class [:name:]; empty for an unknown name.
CodeRanges posix_ranges(std::string_view name);

}  // namespace mirrord::config
