// applets/config/automaton_table.h — a deterministic automaton as a table: minimised and written.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace mirrord::config {

struct AutomatonTable {
  uint32_t start = 0;
  uint32_t class_count = 0;
  std::array<uint8_t, 256> classes{};
  std::vector<uint8_t> outcomes;      // one for each state
  std::vector<uint32_t> transitions;  // class_count for each state
};

// Joins states that no path tells apart, then byte classes that no state tells apart.
void minimise(AutomatonTable& table);

// The bytes of a local::PathAutomaton.
std::vector<std::byte> serialise(const AutomatonTable& table);

}  // namespace mirrord::config
