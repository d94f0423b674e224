// applets/config/path_automaton.h — compiles path rules into the table that the hook evaluates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "applets/config/config.h"
#include "applets/config/pattern.h"
#include "proto/local.h"

namespace mirrord::config {

// Lists of patterns, the strongest first.
enum class RuleGroup : uint8_t {
  kNotFound,
  kReadWrite,
  kReadOnly,
  kLocal,
  kDefaultNotFound,
  kDefaultRemote,  // for reading only; writing goes on to the lists below
  kDefaultLocal,
  kMapping,  // beside the others: sets kOutcomeMap
};
inline constexpr std::size_t kGroupCount = 8;

struct PathRule {
  std::string pattern;
  RuleGroup group;
};

// A set of groups that match, one bit each.
using GroupMask = uint8_t;
constexpr GroupMask group_bit(RuleGroup group) {
  return static_cast<GroupMask>(1U << static_cast<unsigned>(group));
}

// The outcome (see local::PathAutomaton) of a path that these groups match.
uint8_t outcome_of(GroupMask matched, FileMode mode);

// The bytes of a local::PathAutomaton. Errors: a pattern that does not parse, or a table that
// would become too large.
Result<std::vector<std::byte>> compile_paths(std::span<const PathRule> rules, FileMode mode,
                                             LetterCase letter_case);

// What the hook does with the table. `automaton` must come from compile_paths.
uint8_t evaluate_path(std::span<const std::byte> automaton, std::string_view path);

}  // namespace mirrord::config
