// applets/config/path_automaton.cpp — subset construction over all patterns at once.
//
// Patterns are searched for anywhere in the path, so a group that has matched stays matched. Then
// its own other threads and those of weaker groups cannot change the outcome and are dropped; that
// keeps the table small. Threads that start at every byte are not part of the sets: they are the
// same everywhere (the root set) and are added when a set is completed.
#include "applets/config/path_automaton.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <unordered_map>

#include "applets/config/automaton_table.h"
#include "applets/config/pattern_nfa.h"

namespace mirrord::config {
namespace {

constexpr std::size_t kMostStates = 20'000;
constexpr std::size_t kMostCells = 8'000'000;

bool is_word_byte(unsigned byte) {
  return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || byte == '_' ||
         (byte >= 'a' && byte <= 'z') || byte >= 0x80;
}

// Groups that are weaker than one of `matched` which decides alone.
GroupMask overruled(GroupMask matched) {
  GroupMask out = 0;
  bool is_decided = false;
  for (unsigned group = 0; group < static_cast<unsigned>(RuleGroup::kMapping); ++group) {
    const GroupMask bit = static_cast<GroupMask>(1U << group);
    if (is_decided)
      out |= bit;
    if ((matched & bit) != 0 && bit != group_bit(RuleGroup::kDefaultRemote))
      is_decided = true;
  }
  return out;
}

using StateSet = std::vector<uint32_t>;

struct SetKey {
  StateSet states;  // sorted
  GroupMask matched;
  bool after_word;
  bool at_begin;  // the state before the first byte
  bool operator==(const SetKey&) const = default;
};
struct SetHash {
  std::size_t operator()(const SetKey& key) const {
    std::size_t hash = key.matched * 2U + (key.after_word ? 1U : 0U);
    for (const uint32_t state : key.states)
      hash = (hash ^ state) * 0x9E3779B97F4A7C15U;
    return hash ^ (hash >> 29);
  }
};

class Builder {
 public:
  Builder(const Nfa& nfa, FileMode mode) : nfa_(nfa), mode_(mode), marks_(nfa.states().size()) {
    class_count_ = nfa.byte_classes(classes_);
    buckets_.resize(class_count_);
    word_class_.resize(class_count_);
    for (unsigned byte = 0; byte < 256; ++byte)
      word_class_[classes_[byte]] = is_word_byte(byte);
  }

  Result<AutomatonTable> run() {
    begin_set();
    for (const uint32_t start : nfa_.starts())
      close(start, Context{.at_begin = false});
    root_ = set_;
    root_matched_ = matched_;
    begin_set();
    for (const uint32_t start : nfa_.starts())
      close(start, Context{.at_begin = true});
    AutomatonTable table;
    table.start = intern(false, true);
    for (std::size_t i = 0; i < order_.size(); ++i) {
      expand(*order_[i], table);
      if (order_.size() > kMostStates || order_.size() * class_count_ > kMostCells)
        return fail(ErrorCode::kConfig, "the path patterns are too complex together",
                    "Use fewer patterns with `.*` or repetitions in the middle.");
    }
    table.class_count = class_count_;
    table.classes = classes_;
    return table;
  }

 private:
  struct Context {
    bool at_begin = false;
    bool at_end = false;
    bool resolve_words = false;  // word edges are decided: the next byte is known
    bool is_edge = false;
  };

  void begin_set() {
    set_.clear();
    matched_ = 0;
    ++stamp_;
  }

  // Adds what is reachable from `state` without a byte to the set.
  void close(uint32_t state, const Context& context) {
    stack_.push_back(state);
    while (!stack_.empty()) {
      const uint32_t index = stack_.back();
      stack_.pop_back();
      if (index == NfaState::kNone || marks_[index] == stamp_)
        continue;
      marks_[index] = stamp_;
      const NfaState& at = nfa_.states()[index];
      switch (at.kind) {
        case NfaState::Kind::kBytes:
          set_.push_back(index);
          break;
        case NfaState::Kind::kSplit:
          stack_.push_back(at.other);
          stack_.push_back(at.next);
          break;
        case NfaState::Kind::kBegin:
          if (context.at_begin)
            stack_.push_back(at.next);
          break;
        case NfaState::Kind::kEnd:
          set_.push_back(index);
          if (context.at_end)
            stack_.push_back(at.next);
          break;
        case NfaState::Kind::kWordEdge:
        case NfaState::Kind::kNotWordEdge:
          set_.push_back(index);
          if (context.resolve_words && context.is_edge == (at.kind == NfaState::Kind::kWordEdge))
            stack_.push_back(at.next);
          break;
        case NfaState::Kind::kMatch:
          matched_ |= static_cast<GroupMask>(1U << at.group);
          break;
      }
    }
  }

  void close_root(const Context& context) {
    matched_ |= root_matched_;
    for (const uint32_t state : root_)
      close(state, context);
  }

  // The number of the automaton's state for the current set.
  uint32_t intern(bool after_word, bool at_begin = false) {
    const GroupMask weaker = overruled(matched_);
    matched_ &= static_cast<GroupMask>(~weaker);
    const GroupMask dead = matched_ | weaker;
    std::erase_if(set_,
                  [&](uint32_t state) { return ((dead >> nfa_.states()[state].group) & 1) != 0; });
    std::ranges::sort(set_);
    SetKey key{set_, matched_, nfa_.has_word_edges() && after_word, at_begin};
    const auto [found, is_new] =
        numbers_.try_emplace(std::move(key), static_cast<uint32_t>(order_.size()));
    if (is_new)
      order_.push_back(&found->first);
    return found->second;
  }

  uint8_t outcome_at_end(const SetKey& key) {
    begin_set();
    matched_ = key.matched;
    const Context context{
        .at_begin = key.at_begin, .at_end = true, .resolve_words = true, .is_edge = key.after_word};
    for (const uint32_t state : key.states)
      close(state, context);
    return outcome_of(matched_, mode_);
  }

  void expand(const SetKey& key, AutomatonTable& table) {
    table.outcomes.push_back(outcome_at_end(key));
    const std::size_t row = table.transitions.size();
    table.transitions.resize(row + class_count_);
    if (!nfa_.has_word_edges()) {
      step(key.states, key.matched, nullptr, &table.transitions, row);
      return;
    }
    for (const bool next_is_word : {false, true}) {
      begin_set();
      matched_ = key.matched;
      const Context context{.at_begin = key.at_begin,
                            .resolve_words = true,
                            .is_edge = key.after_word != next_is_word};
      for (const uint32_t state : key.states)
        close(state, context);
      const StateSet states = set_;
      const GroupMask matched = matched_;
      step(states, matched, &next_is_word, &table.transitions, row);
    }
  }

  // Fills the row's cells for all classes, or those on one side of the word line.
  void step(const StateSet& states, GroupMask matched, const bool* only_word,
            std::vector<uint32_t>* transitions, std::size_t row) {
    for (StateSet& bucket : buckets_)
      bucket.clear();
    for (const uint32_t state : states) {
      const NfaState& at = nfa_.states()[state];
      if (at.kind != NfaState::Kind::kBytes)
        continue;
      for (uint32_t edge = at.edges_begin; edge < at.edges_end; ++edge) {
        const NfaEdge& to = nfa_.edges()[edge];
        for (uint32_t c = classes_[to.first]; c <= classes_[to.last]; ++c)
          buckets_[c].push_back(to.target);
      }
    }
    std::map<std::pair<StateSet, bool>, uint32_t> same;
    for (uint32_t c = 0; c < class_count_; ++c) {
      if (only_word != nullptr && word_class_[c] != *only_word)
        continue;
      const bool after_word = nfa_.has_word_edges() && word_class_[c];
      const auto [found, is_new] = same.try_emplace({buckets_[c], after_word}, 0);
      if (is_new) {
        begin_set();
        matched_ = matched;
        for (const uint32_t target : buckets_[c])
          close(target, Context{});
        close_root(Context{});
        found->second = intern(after_word);
      }
      (*transitions)[row + c] = found->second;
    }
  }

  const Nfa& nfa_;
  FileMode mode_;
  std::array<uint8_t, 256> classes_{};
  uint32_t class_count_ = 0;
  std::vector<bool> word_class_;
  std::vector<StateSet> buckets_;

  std::vector<uint32_t> marks_;  // states of the current set, by stamp
  uint32_t stamp_ = 0;
  StateSet set_;
  GroupMask matched_ = 0;
  std::vector<uint32_t> stack_;

  StateSet root_;
  GroupMask root_matched_ = 0;
  std::unordered_map<SetKey, uint32_t, SetHash> numbers_;
  std::vector<const SetKey*> order_;
};

}  // namespace

uint8_t outcome_of(GroupMask matched, FileMode mode) {
  using local::Decision;
  const auto outcome = [&](Decision read, Decision write) {
    const uint8_t map = (matched & group_bit(RuleGroup::kMapping)) != 0 ? local::kOutcomeMap : 0;
    return static_cast<uint8_t>(static_cast<unsigned>(read) | static_cast<unsigned>(write) << 2 |
                                map);
  };
  const auto has = [&](RuleGroup group) { return (matched & group_bit(group)) != 0; };
  constexpr auto kLocal = Decision::kLocal;
  constexpr auto kRemote = Decision::kRemote;
  constexpr auto kNotFound = Decision::kNotFound;

  if (mode == FileMode::kLocal)
    return outcome(kLocal, kLocal);
  if (has(RuleGroup::kNotFound))
    return outcome(kNotFound, kNotFound);
  if (has(RuleGroup::kReadWrite))
    return outcome(kRemote, kRemote);
  if (has(RuleGroup::kReadOnly))
    return outcome(kRemote, kLocal);
  if (has(RuleGroup::kLocal))
    return outcome(kLocal, kLocal);
  if (has(RuleGroup::kDefaultNotFound))
    return outcome(kNotFound, kNotFound);
  const bool is_local = has(RuleGroup::kDefaultLocal) || mode == FileMode::kLocalWithOverrides;
  const bool is_remote = has(RuleGroup::kDefaultRemote) || !is_local;
  return outcome(is_remote ? kRemote : kLocal,
                 !is_local && mode == FileMode::kWrite ? kRemote : kLocal);
}

Result<std::vector<std::byte>> compile_paths(std::span<const PathRule> rules, FileMode mode,
                                             LetterCase letter_case) {
  Nfa nfa;
  for (const PathRule& rule : rules) {
    const bool has_no_effect = mode == FileMode::kLocal || (mode == FileMode::kLocalWithOverrides &&
                                                            rule.group == RuleGroup::kDefaultLocal);
    if (has_no_effect)
      continue;
    MIRRORD_TRY(pattern, parse_pattern(rule.pattern, letter_case));
    if (auto status = nfa.add(pattern, static_cast<uint8_t>(rule.group)); !status) {
      status.error().what += " (at the pattern `" + rule.pattern + "`)";
      return std::unexpected(std::move(status).error());
    }
  }
  MIRRORD_TRY(table, Builder(nfa, mode).run());
  minimise(table);
  return serialise(table);
}

uint8_t evaluate_path(std::span<const std::byte> automaton, std::string_view path) {
  local::PathAutomaton header;
  std::memcpy(&header, automaton.data(), sizeof header);
  const std::byte* outcomes = automaton.data() + sizeof header;
  const std::byte* transitions = outcomes + ((header.state_count + 3) & ~3U);
  uint32_t state = header.start;
  for (const char c : path) {
    const std::size_t cell =
        std::size_t{state} * header.class_count + header.classes[static_cast<unsigned char>(c)];
    std::memcpy(&state, transitions + cell * sizeof state, sizeof state);
  }
  return static_cast<uint8_t>(outcomes[state]);
}

}  // namespace mirrord::config
