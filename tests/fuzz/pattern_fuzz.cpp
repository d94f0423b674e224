// tests/fuzz/pattern_fuzz.cpp — any text as path patterns; the table must stay inside its bounds,
// and two ways to the same patterns must agree.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "applets/config/path_automaton.h"

using namespace mirrord;
using namespace mirrord::config;

namespace {

void check_bounds(const std::vector<std::byte>& table) {
  local::PathAutomaton header;
  std::memcpy(&header, table.data(), sizeof header);
  const std::size_t outcomes = (header.state_count + 3) & ~3U;
  const std::size_t cells = std::size_t{header.state_count} * header.class_count;
  if (header.start >= header.state_count || table.size() != sizeof header + outcomes + cells * 4)
    std::abort();
  for (const uint8_t number : header.classes) {
    if (number >= header.class_count)
      std::abort();
  }
  for (std::size_t i = 0; i < cells; ++i) {
    uint32_t to = 0;
    std::memcpy(&to, table.data() + sizeof header + outcomes + i * 4, sizeof to);
    if (to >= header.state_count)
      std::abort();
  }
}

}  // namespace

// A pattern, a second one and a path, each on a line of its own.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::size_t first = text.find('\n');
  const std::size_t second = first == text.npos ? text.npos : text.find('\n', first + 1);
  if (second == text.npos || second > 200)
    return 0;
  const std::string one = text.substr(0, first);
  const std::string two = text.substr(first + 1, second - first - 1);
  const std::string path = text.substr(second + 1);
  const std::vector<PathRule> both = {{one, RuleGroup::kReadOnly}, {two, RuleGroup::kLocal}};
  const std::vector<PathRule> only = {{one, RuleGroup::kReadOnly}};
  const auto joined = compile_paths(both, FileMode::kWrite, LetterCase::kFold);
  const auto alone = compile_paths(only, FileMode::kWrite, LetterCase::kFold);
  if (!joined || !alone)
    return 0;
  check_bounds(*joined);
  const bool is_read_only = evaluate_path(*alone, path) != outcome_of(0, FileMode::kWrite);
  const uint8_t outcome = evaluate_path(*joined, path);
  if (is_read_only != (outcome == outcome_of(group_bit(RuleGroup::kReadOnly), FileMode::kWrite)))
    std::abort();
  return 0;
}
