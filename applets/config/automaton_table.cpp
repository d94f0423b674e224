// applets/config/automaton_table.cpp — partition refinement and the file form of the table.
#include "applets/config/automaton_table.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "proto/local.h"

namespace mirrord::config {
namespace {

uint64_t mixed(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15U;
  return hash ^ (hash >> 31);
}

// Splits the blocks until the states of each agree on the blocks they lead to.
std::vector<uint32_t> final_blocks(const AutomatonTable& table) {
  const std::size_t count = table.outcomes.size();
  std::vector<uint32_t> block(table.outcomes.begin(), table.outcomes.end());
  std::vector<uint32_t> next(count);
  std::size_t block_count = 0;
  while (true) {
    // A row is told apart by two hashes of 64 bits: a chance agreement is out of the question.
    struct Signature {
      uint64_t a, b;
      bool operator==(const Signature&) const = default;
    };
    struct Hash {
      std::size_t operator()(const Signature& signature) const { return signature.a; }
    };
    std::unordered_map<Signature, uint32_t, Hash> numbers;
    numbers.reserve(count);
    for (std::size_t state = 0; state < count; ++state) {
      Signature signature{block[state], ~uint64_t{block[state]}};
      const uint32_t* row = &table.transitions[state * table.class_count];
      for (uint32_t c = 0; c < table.class_count; ++c) {
        signature.a = mixed(signature.a, block[row[c]]);
        signature.b = mixed(signature.b, block[row[c]] + 0x51ED27U);
      }
      next[state] =
          numbers.try_emplace(signature, static_cast<uint32_t>(numbers.size())).first->second;
    }
    block.swap(next);
    if (numbers.size() == block_count)
      return block;
    block_count = numbers.size();
  }
}

void join_states(AutomatonTable& table) {
  const std::vector<uint32_t> block = final_blocks(table);
  const uint32_t count = *std::ranges::max_element(block) + 1;
  std::vector<uint8_t> outcomes(count);
  std::vector<uint32_t> transitions(std::size_t{count} * table.class_count);
  for (std::size_t state = 0; state < block.size(); ++state) {
    outcomes[block[state]] = table.outcomes[state];
    for (uint32_t c = 0; c < table.class_count; ++c)
      transitions[std::size_t{block[state]} * table.class_count + c] =
          block[table.transitions[state * table.class_count + c]];
  }
  table.start = block[table.start];
  table.outcomes = std::move(outcomes);
  table.transitions = std::move(transitions);
}

void join_classes(AutomatonTable& table) {
  const std::size_t states = table.outcomes.size();
  std::vector<uint32_t> kept;                       // classes that stay
  std::vector<uint32_t> number(table.class_count);  // their new numbers
  for (uint32_t c = 0; c < table.class_count; ++c) {
    const auto same = std::ranges::find_if(kept, [&](uint32_t other) {
      for (std::size_t state = 0; state < states; ++state) {
        const uint32_t* row = &table.transitions[state * table.class_count];
        if (row[c] != row[other])
          return false;
      }
      return true;
    });
    number[c] = static_cast<uint32_t>(same - kept.begin());
    if (same == kept.end())
      kept.push_back(c);
  }
  std::vector<uint32_t> transitions;
  transitions.reserve(states * kept.size());
  for (std::size_t state = 0; state < states; ++state) {
    for (const uint32_t c : kept)
      transitions.push_back(table.transitions[state * table.class_count + c]);
  }
  for (uint8_t& c : table.classes)
    c = static_cast<uint8_t>(number[c]);
  table.class_count = static_cast<uint32_t>(kept.size());
  table.transitions = std::move(transitions);
}

}  // namespace

void minimise(AutomatonTable& table) {
  join_states(table);
  join_classes(table);
}

std::vector<std::byte> serialise(const AutomatonTable& table) {
  local::PathAutomaton header{};
  header.state_count = static_cast<uint32_t>(table.outcomes.size());
  header.class_count = table.class_count;
  header.start = table.start;
  std::memcpy(header.classes, table.classes.data(), table.classes.size());
  const std::size_t outcomes_size = (table.outcomes.size() + 3) & ~std::size_t{3};
  const std::size_t transitions_size = table.transitions.size() * sizeof(uint32_t);
  std::vector<std::byte> bytes(sizeof header + outcomes_size + transitions_size);
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + sizeof header, table.outcomes.data(), table.outcomes.size());
  std::memcpy(bytes.data() + sizeof header + outcomes_size, table.transitions.data(),
              transitions_size);
  return bytes;
}

}  // namespace mirrord::config
