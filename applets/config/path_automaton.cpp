// applets/config/path_automaton.cpp — subset construction over all patterns at once.
//
// Patterns are searched for anywhere in the path, so a group that has matched stays matched. Then
// its own other threads and those of weaker groups cannot change the outcome and are dropped; that
// keeps the table small. Threads that start at every byte (the root) are the same everywhere and
// not part of the sets: a state's row begins as the root's row, and only the bytes that its own
// threads read are worked out.
#include "applets/config/path_automaton.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <unordered_map>

#include "applets/config/automaton_table.h"
#include "applets/config/pattern_join.h"
#include "applets/config/pattern_nfa.h"

namespace mirrord::config {
namespace {

constexpr std::size_t kMostStates = 60'000;
constexpr std::size_t kMostCells = 8'000'000;
// Up to here minimising takes longer than it saves.
constexpr std::size_t kSmallTable = 2'000;

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
    in_root_.resize(nfa_.states().size());
    begin_set(0);
    for (const uint32_t start : nfa_.starts())
      close(start, Context{});
    root_ = set_;
    root_matched_ = matched_;
    // Word edges depend on the byte before: with them the root cannot be left implied.
    for (const uint32_t state : root_)
      in_root_[state] = !nfa_.has_word_edges();
    begin_set(root_matched_);
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

  void begin_set(GroupMask matched) {
    set_.clear();
    matched_ = matched;
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

  // Groups that cannot change the outcome any more.
  static GroupMask dead_groups(GroupMask matched) { return matched | overruled(matched); }
  bool is_in(uint32_t state, GroupMask groups) const {
    return ((groups >> nfa_.states()[state].group) & 1) != 0;
  }

  // The number of the automaton's state for the current set.
  uint32_t intern(bool after_word, bool at_begin) {
    matched_ &= static_cast<GroupMask>(~overruled(matched_));
    const GroupMask dead = dead_groups(matched_);
    std::erase_if(set_, [&](uint32_t state) { return in_root_[state] || is_in(state, dead); });
    std::ranges::sort(set_);
    SetKey key{set_, matched_, nfa_.has_word_edges() && after_word, at_begin};
    const auto [found, is_new] =
        numbers_.try_emplace(std::move(key), static_cast<uint32_t>(order_.size()));
    if (is_new)
      order_.push_back(&found->first);
    return found->second;
  }

  void close_key(const SetKey& key, const Context& context) {
    begin_set(key.matched);
    for (const uint32_t state : key.states)
      close(state, context);
    const GroupMask dead = dead_groups(key.matched);
    for (const uint32_t state : root_) {
      if (!is_in(state, dead))
        close(state, context);
    }
  }

  void expand(const SetKey& key, AutomatonTable& table) {
    close_key(key, Context{.at_begin = key.at_begin,
                           .at_end = true,
                           .resolve_words = true,
                           .is_edge = key.after_word});
    table.outcomes.push_back(outcome_of(matched_, mode_));
    const std::size_t row = table.transitions.size();
    if (!nfa_.has_word_edges()) {
      const std::vector<uint32_t>& usual = root_row(key.matched);
      table.transitions.insert(table.transitions.end(), usual.begin(), usual.end());
      fill_buckets(key.states);
      for (const uint32_t c : touched_) {
        // What starts at this byte comes on top.
        const std::vector<StateSet>& starting = root_buckets_[key.matched];
        buckets_[c].insert(buckets_[c].end(), starting[c].begin(), starting[c].end());
        table.transitions[row + c] = successor(buckets_[c], key.matched, false);
      }
      return;
    }
    table.transitions.resize(row + class_count_);
    for (const bool next_is_word : {false, true}) {
      close_key(key, Context{.at_begin = key.at_begin,
                             .resolve_words = true,
                             .is_edge = key.after_word != next_is_word});
      const StateSet states = set_;
      const GroupMask matched = matched_;
      fill_buckets(states);
      for (uint32_t c = 0; c < class_count_; ++c) {
        if (word_class_[c] == next_is_word)
          table.transitions[row + c] = successor(buckets_[c], matched, next_is_word);
      }
    }
  }

  // Sorts the edges of `states` by byte class.
  void fill_buckets(const StateSet& states) {
    for (const uint32_t c : touched_)
      buckets_[c].clear();
    touched_.clear();
    for (const uint32_t state : states) {
      const NfaState& at = nfa_.states()[state];
      if (at.kind != NfaState::Kind::kBytes)
        continue;
      for (uint32_t edge = at.edges_begin; edge < at.edges_end; ++edge) {
        const NfaEdge& to = nfa_.edges()[edge];
        for (uint32_t c = classes_[to.first]; c <= classes_[to.last]; ++c) {
          if (buckets_[c].empty())
            touched_.push_back(c);
          buckets_[c].push_back(to.target);
        }
      }
    }
  }

  uint32_t successor(const StateSet& targets, GroupMask matched, bool after_word) {
    begin_set(matched | root_matched_);
    for (const uint32_t target : targets)
      close(target, Context{});
    return intern(after_word, false);
  }

  // Where each byte class leads when nothing but the root is under way.
  const std::vector<uint32_t>& root_row(GroupMask matched) {
    std::vector<uint32_t>& row = root_rows_[matched];
    if (!row.empty())
      return row;
    StateSet alive;
    std::ranges::copy_if(root_, std::back_inserter(alive),
                         [&](uint32_t state) { return !is_in(state, dead_groups(matched)); });
    fill_buckets(alive);
    root_buckets_[matched] = buckets_;
    for (uint32_t c = 0; c < class_count_; ++c)
      row.push_back(successor(root_buckets_[matched][c], matched, false));
    return row;
  }

  const Nfa& nfa_;
  FileMode mode_;
  std::array<uint8_t, 256> classes_{};
  uint32_t class_count_ = 0;
  std::vector<bool> word_class_;
  std::vector<StateSet> buckets_;  // targets by byte class
  std::vector<uint32_t> touched_;  // classes whose bucket is in use

  std::vector<uint32_t> marks_;  // states of the current set, by stamp
  uint32_t stamp_ = 0;
  StateSet set_;
  GroupMask matched_ = 0;
  std::vector<uint32_t> stack_;

  StateSet root_;  // states in which a match may start at any byte
  std::vector<bool> in_root_;
  GroupMask root_matched_ = 0;
  std::map<GroupMask, std::vector<uint32_t>> root_rows_;
  std::map<GroupMask, std::vector<StateSet>> root_buckets_;
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
  const bool is_unnamed = !is_local && !has(RuleGroup::kDefaultRemote);
  return static_cast<uint8_t>(outcome(is_remote ? kRemote : kLocal,
                                      !is_local && mode == FileMode::kWrite ? kRemote : kLocal) |
                              (is_unnamed ? local::kOutcomeUnnamed : 0));
}

Result<std::vector<std::byte>> compile_paths(std::span<const PathRule> rules, FileMode mode,
                                             LetterCase letter_case) {
  std::array<std::vector<Pattern>, kGroupCount> groups;
  for (const PathRule& rule : rules) {
    const bool has_no_effect = mode == FileMode::kLocal || (mode == FileMode::kLocalWithOverrides &&
                                                            rule.group == RuleGroup::kDefaultLocal);
    if (has_no_effect)
      continue;
    MIRRORD_TRY(pattern, parse_pattern(rule.pattern, letter_case));
    trim_for_search(pattern);
    groups[static_cast<std::size_t>(rule.group)].push_back(std::move(pattern));
  }
  Nfa nfa;
  for (std::size_t group = 0; group < kGroupCount; ++group) {
    if (!groups[group].empty())
      MIRRORD_CHECK_STATUS(
          nfa.add(join_patterns(std::move(groups[group])), static_cast<uint8_t>(group)));
  }
  MIRRORD_TRY(table, Builder(nfa, mode).run());
  if (table.outcomes.size() > kSmallTable)
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
