// applets/config/code_ranges.cpp — operations on sets of characters, and the named sets.
#include "applets/config/code_ranges.h"

#include <algorithm>

namespace mirrord::config {
namespace {

// Letters whose other case is at a fixed distance.
struct CaseBlock {
  uint32_t first, last;  // capitals
  uint32_t distance;
};
constexpr CaseBlock kCaseBlocks[] = {
    {'A', 'Z', 32},       {0xC0, 0xD6, 32},     {0xD8, 0xDE, 32},   {0x391, 0x3A1, 32},
    {0x3A3, 0x3AB, 32},   {0x400, 0x40F, 80},   {0x410, 0x42F, 32}, {0x531, 0x556, 48},
    {0x24B6, 0x24CF, 26}, {0xFF21, 0xFF3A, 32},
};
// Blocks in which capital and small letter alternate; capitals are even, or odd.
struct CasePairs {
  uint32_t first, last;  // the first capital, the last small letter
};
constexpr CasePairs kCasePairs[] = {
    {0x100, 0x12F}, {0x132, 0x137},   {0x139, 0x148},   {0x14A, 0x177}, {0x179, 0x17E},
    {0x200, 0x21F}, {0x222, 0x233},   {0x460, 0x481},   {0x48A, 0x4BF}, {0x4C1, 0x4CE},
    {0x4D0, 0x52F}, {0x1E00, 0x1E95}, {0x1EA0, 0x1EFF},
};

// The part of `range` within [first, last], moved.
void add_moved(CodeRanges& out, CodeRange range, uint32_t first, uint32_t last, int64_t by) {
  const uint32_t begin = std::max(range.first, first);
  const uint32_t end = std::min(range.last, last);
  if (begin <= end)
    out.push_back({static_cast<uint32_t>(begin + by), static_cast<uint32_t>(end + by)});
}

void add_pairs(CodeRanges& out, CodeRange range, const CasePairs& pairs) {
  const uint32_t begin = std::max(range.first, pairs.first);
  const uint32_t end = std::min(range.last, pairs.last);
  for (uint32_t code = begin; code <= end && begin <= end; ++code) {
    const bool is_capital = ((code - pairs.first) & 1) == 0;
    const uint32_t other = is_capital ? code + 1 : code - 1;
    out.push_back({other, other});
  }
}

}  // namespace

void normalise(CodeRanges& ranges) {
  std::ranges::sort(ranges, {}, &CodeRange::first);
  CodeRanges joined;
  for (const CodeRange& range : ranges) {
    if (!joined.empty() && range.first <= joined.back().last + 1)
      joined.back().last = std::max(joined.back().last, range.last);
    else
      joined.push_back(range);
  }
  ranges = std::move(joined);
}

CodeRanges complement(const CodeRanges& ranges) {
  CodeRanges out;
  uint32_t next = 0;
  for (const CodeRange& range : ranges) {
    if (range.first > next)
      out.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLastCode)
    out.push_back({next, kLastCode});
  return out;
}

void add_other_case(CodeRanges& ranges) {
  CodeRanges more;
  for (const CodeRange& range : ranges) {
    for (const CaseBlock& block : kCaseBlocks) {
      add_moved(more, range, block.first, block.last, block.distance);
      add_moved(more, range, block.first + block.distance, block.last + block.distance,
                -static_cast<int64_t>(block.distance));
    }
    for (const CasePairs& pairs : kCasePairs)
      add_pairs(more, range, pairs);
  }
  // Two signs whose small letters are ASCII: the long s and the Kelvin sign.
  const auto has = [&](uint32_t code) {
    return std::ranges::any_of(
        ranges, [&](const CodeRange& range) { return range.first <= code && code <= range.last; });
  };
  if (has('s') || has('S') || has(0x17F))
    more.insert(more.end(), {{'s', 's'}, {'S', 'S'}, {0x17F, 0x17F}});
  if (has('k') || has('K') || has(0x212A))
    more.insert(more.end(), {{'k', 'k'}, {'K', 'K'}, {0x212A, 0x212A}});
  ranges.insert(ranges.end(), more.begin(), more.end());
  normalise(ranges);
}

CodeRanges digit_ranges() {
  return {{'0', '9'}};
}

CodeRanges space_ranges() {
  return {{9, 13},          {' ', ' '},       {0x85, 0x85},     {0xA0, 0xA0},     {0x1680, 0x1680},
          {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}};
}

// All characters from ª on count as letters: names hold few others.
CodeRanges word_ranges() {
  return {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}, {0xAA, kLastCode}};
}

CodeRanges posix_ranges(std::string_view name) {
  struct Named {
    std::string_view name;
    CodeRanges ranges;
  };
  const Named kNamed[] = {
      {"alnum", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}},
      {"alpha", {{'A', 'Z'}, {'a', 'z'}}},
      {"ascii", {{0, 127}}},
      {"blank", {{'\t', '\t'}, {' ', ' '}}},
      {"cntrl", {{0, 31}, {127, 127}}},
      {"digit", {{'0', '9'}}},
      {"graph", {{'!', '~'}}},
      {"lower", {{'a', 'z'}}},
      {"print", {{' ', '~'}}},
      {"punct", {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}},
      {"space", {{9, 13}, {' ', ' '}}},
      {"upper", {{'A', 'Z'}}},
      {"word", {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}},
      {"xdigit", {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}},
  };
  for (const Named& named : kNamed) {
    if (named.name == name)
      return named.ranges;
  }
  return {};
}

}  // namespace mirrord::config
