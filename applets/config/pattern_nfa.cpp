// applets/config/pattern_nfa.cpp — Thompson's construction, from the pattern's end to its begin.
#include "applets/config/pattern_nfa.h"

#include <algorithm>
#include <bitset>

#include "applets/config/code_ranges.h"

namespace mirrord::config {
namespace {

constexpr std::size_t kMostStates = 50'000;

struct ByteRange {
  uint8_t first, last;
};
struct Sequence {
  std::array<ByteRange, 4> bytes;
  std::size_t length = 0;
};

std::size_t encode(uint32_t code, std::array<uint8_t, 4>& out) {
  if (code < 0x80) {
    out[0] = static_cast<uint8_t>(code);
    return 1;
  }
  const std::size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (std::size_t i = length - 1; i > 0; --i, code >>= 6)
    out[i] = static_cast<uint8_t>(0x80 | (code & 0x3F));
  constexpr std::array<uint8_t, 5> kLead = {0, 0, 0xC0, 0xE0, 0xF0};
  out[0] = static_cast<uint8_t>(kLead[length] | code);
  return length;
}

// Cuts a range so that each piece is a product of byte ranges.
void split_utf8(uint32_t first, uint32_t last, std::vector<Sequence>& out) {
  constexpr uint32_t kLimits[] = {0x7F, 0x7FF, 0xD7FF, 0xDFFF, 0xFFFF};
  if (first > last)
    return;
  for (const uint32_t limit : kLimits) {
    if (first <= limit && limit < last) {
      split_utf8(first, limit, out);
      split_utf8(limit + 1, last, out);
      return;
    }
  }
  if (first >= 0xD800 && last <= 0xDFFF)
    return;  // surrogates are not characters
  for (unsigned shift = 6; shift <= 18 && last > 0x7F; shift += 6) {
    const uint32_t mask = (1U << shift) - 1;
    if ((first & ~mask) == (last & ~mask))
      break;
    if ((first & mask) != 0) {
      split_utf8(first, first | mask, out);
      split_utf8((first | mask) + 1, last, out);
      return;
    }
    if ((last & mask) != mask) {
      split_utf8(first, (last & ~mask) - 1, out);
      split_utf8(last & ~mask, last, out);
      return;
    }
  }
  std::array<uint8_t, 4> low{};
  std::array<uint8_t, 4> high{};
  Sequence sequence;
  sequence.length = encode(first, low);
  encode(last, high);
  for (std::size_t i = 0; i < sequence.length; ++i)
    sequence.bytes[i] = {low[i], high[i]};
  out.push_back(sequence);
}

std::vector<Sequence> sequences(const std::vector<CodeRange>& ranges) {
  std::vector<Sequence> out;
  for (const CodeRange& range : ranges) {
    if (range.first >= kRawByte) {
      Sequence raw;
      raw.length = 1;
      raw.bytes[0] = {static_cast<uint8_t>(range.first - kRawByte),
                      static_cast<uint8_t>(range.last - kRawByte)};
      out.push_back(raw);
    } else {
      split_utf8(range.first, std::min(range.last, kLastCode), out);
    }
  }
  return out;
}

}  // namespace

uint32_t Nfa::new_state(NfaState::Kind kind, uint32_t next, uint32_t other) {
  NfaState state;
  state.kind = kind;
  state.group = group_;
  state.next = next;
  state.other = other;
  states_.push_back(state);
  too_large_ = too_large_ || states_.size() > kMostStates;
  return static_cast<uint32_t>(states_.size() - 1);
}

// The pieces share the states for the bytes after the first, where these are the same.
uint32_t Nfa::build_class(const std::vector<CodeRange>& ranges, uint32_t next) {
  struct Tail {
    ByteRange byte;
    uint32_t target;
    uint32_t state;
  };
  std::vector<Tail> tails;
  std::vector<NfaEdge> heads;
  for (const Sequence& sequence : sequences(ranges)) {
    uint32_t target = next;
    for (std::size_t i = sequence.length - 1; i > 0; --i) {
      const ByteRange byte = sequence.bytes[i];
      const auto same = std::ranges::find_if(tails, [&](const Tail& tail) {
        return tail.byte.first == byte.first && tail.byte.last == byte.last &&
               tail.target == target;
      });
      if (same != tails.end()) {
        target = same->state;
        continue;
      }
      const uint32_t state = new_state(NfaState::Kind::kBytes, NfaState::kNone);
      states_[state].edges_begin = static_cast<uint32_t>(edges_.size());
      edges_.push_back({byte.first, byte.last, target});
      states_[state].edges_end = static_cast<uint32_t>(edges_.size());
      tails.push_back({byte, target, state});
      target = state;
    }
    heads.push_back({sequence.bytes[0].first, sequence.bytes[0].last, target});
  }
  const uint32_t state = new_state(NfaState::Kind::kBytes, NfaState::kNone);
  states_[state].edges_begin = static_cast<uint32_t>(edges_.size());
  edges_.insert(edges_.end(), heads.begin(), heads.end());
  states_[state].edges_end = static_cast<uint32_t>(edges_.size());
  return state;
}

uint32_t Nfa::build_repeat(const Pattern& pattern, uint32_t next) {
  const Pattern& inner = pattern.parts[0];
  uint32_t start = next;
  if (pattern.most == Pattern::kUnlimited) {
    const uint32_t loop = new_state(NfaState::Kind::kSplit, NfaState::kNone, next);
    states_[loop].next = build(inner, loop);
    start = loop;
  } else {
    for (uint32_t i = pattern.least; i < pattern.most && !too_large_; ++i)
      start = new_state(NfaState::Kind::kSplit, build(inner, start), next);
  }
  for (uint32_t i = 0; i < pattern.least && !too_large_; ++i)
    start = build(inner, start);
  return start;
}

// Returns the state from which `pattern` and then `next` is read.
uint32_t Nfa::build(const Pattern& pattern, uint32_t next) {
  if (too_large_)
    return next;
  switch (pattern.kind) {
    case Pattern::Kind::kEmpty:
      return next;
    case Pattern::Kind::kClass:
      return build_class(pattern.ranges, next);
    case Pattern::Kind::kConcat:
      for (auto part = pattern.parts.rbegin(); part != pattern.parts.rend(); ++part)
        next = build(*part, next);
      return next;
    case Pattern::Kind::kAlternate: {
      uint32_t start = build(pattern.parts.back(), next);
      for (std::size_t i = pattern.parts.size() - 1; i > 0; --i)
        start = new_state(NfaState::Kind::kSplit, build(pattern.parts[i - 1], next), start);
      return start;
    }
    case Pattern::Kind::kRepeat:
      return build_repeat(pattern, next);
    case Pattern::Kind::kBegin:
      return new_state(NfaState::Kind::kBegin, next);
    case Pattern::Kind::kEnd:
      return new_state(NfaState::Kind::kEnd, next);
    case Pattern::Kind::kWordEdge:
    case Pattern::Kind::kNotWordEdge:
      has_word_edges_ = true;
      return new_state(pattern.kind == Pattern::Kind::kWordEdge ? NfaState::Kind::kWordEdge
                                                                : NfaState::Kind::kNotWordEdge,
                       next);
  }
  return next;
}

Status Nfa::add(const Pattern& pattern, uint8_t group) {
  group_ = group;
  const uint32_t match = new_state(NfaState::Kind::kMatch, NfaState::kNone);
  starts_.push_back(build(pattern, match));
  if (too_large_)
    return fail(ErrorCode::kConfig, "the patterns are too large together",
                "Use fewer or smaller repetitions such as {1000}.");
  return {};
}

uint32_t Nfa::byte_classes(std::array<uint8_t, 256>& classes) const {
  std::bitset<257> begins;
  for (const NfaEdge& edge : edges_) {
    begins.set(edge.first);
    begins.set(edge.last + 1U);
  }
  if (has_word_edges_) {
    constexpr unsigned kEdges[] = {'0', '9' + 1, 'A', 'Z' + 1, '_', '_' + 1, 'a', 'z' + 1, 0x80};
    for (const unsigned edge : kEdges)
      begins.set(edge);
  }
  uint32_t count = 0;
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (byte > 0 && begins.test(byte))
      ++count;
    classes[byte] = static_cast<uint8_t>(count);
  }
  return count + 1;
}

}  // namespace mirrord::config
