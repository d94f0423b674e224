// net/spelling.h — finds the word that the user probably meant.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mirrord::net {

// Longer words are not compared; no name of Kubernetes is longer than 253.
inline constexpr std::size_t kLongestWord = 256;

// Letters to change, insert, remove or swap with a neighbour; case does not count, and `-` is `_`.
// kLongestWord if one of them is longer than that. Time grows with the product of both lengths.
std::size_t edit_distance(std::string_view a, std::string_view b);

// Keeps the nearest of the words that it is offered.
class Nearest {
 public:
  explicit Nearest(std::string_view wanted)
      : wanted_(wanted), least_(wanted.size() / 3 + (wanted.size() < 3 ? 2 : 1)) {}
  // `word` is compared; `result` is what found() returns for it.
  void offer(std::string_view word, std::string_view result);
  void offer(std::string_view word) { offer(word, word); }
  std::string_view found() const { return found_; }

 private:
  std::string wanted_;
  std::size_t least_;  // further away than this is not a typing mistake
  std::string_view found_;
};

}  // namespace mirrord::net
