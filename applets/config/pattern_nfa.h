// applets/config/pattern_nfa.h — patterns as one non-deterministic automaton over bytes.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "applets/config/pattern.h"

namespace mirrord::config {

// A state of the automaton. Consuming states have edges, others lead on without a byte.
struct NfaState {
  enum class Kind : uint8_t {
    kBytes,  // edges_begin..edges_end
    kSplit,  // on to `next` and `other` (kNone: only `next`)
    kBegin,  // assertions: on to `next` where they hold
    kEnd,
    kWordEdge,
    kNotWordEdge,
    kMatch,
  };
  static constexpr uint32_t kNone = UINT32_MAX;

  Kind kind = Kind::kSplit;
  uint8_t group = 0;  // which list the pattern belongs to
  uint32_t next = kNone;
  uint32_t other = kNone;
  uint32_t edges_begin = 0;
  uint32_t edges_end = 0;
};

struct NfaEdge {
  uint8_t first, last;
  uint32_t target;
};

class Nfa {
 public:
  // Adds a pattern of a group; an error when the automaton becomes too large.
  Status add(const Pattern& pattern, uint8_t group);

  const std::vector<NfaState>& states() const { return states_; }
  const std::vector<NfaEdge>& edges() const { return edges_; }
  const std::vector<uint32_t>& starts() const { return starts_; }
  bool has_word_edges() const { return has_word_edges_; }

  // Numbers bytes so that bytes of one class behave alike; returns the number of classes.
  uint32_t byte_classes(std::array<uint8_t, 256>& classes) const;

 private:
  uint32_t new_state(NfaState::Kind kind, uint32_t next, uint32_t other = NfaState::kNone);
  uint32_t build(const Pattern& pattern, uint32_t next);
  uint32_t build_repeat(const Pattern& pattern, uint32_t next);
  uint32_t build_class(const std::vector<CodeRange>& ranges, uint32_t next);

  std::vector<NfaState> states_;
  std::vector<NfaEdge> edges_;
  std::vector<uint32_t> starts_;
  uint8_t group_ = 0;
  bool has_word_edges_ = false;
  bool too_large_ = false;
};

}  // namespace mirrord::config
