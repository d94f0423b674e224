// proto/random.h — random messages for tests and fuzzing.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/client_message.h"
#include "proto/daemon_message.h"

namespace mirrord::proto {

// The same seed gives the same messages on every machine.
class Random {
 public:
  explicit Random(u64 seed) : state_(seed) {}

  u64 next();            // SplitMix64
  u64 below(u64 limit);  // limit > 0

  // Most numbers small, most texts from a list, most addresses on loopback: messages that make no
  // more sense, but get further with whoever receives them.
  struct Small {
    u64 numbers_below = 0;  // 0: as ever
    std::vector<std::string_view> texts;
    u16 port = 0;
  };
  void prefer_small(Small small) { small_ = std::move(small); }
  [[nodiscard]] const Small& small() const { return small_; }

  // Every message is fit for the wire and in the form that decoding would give it back in.
  ClientMessage client_message();
  DaemonMessage daemon_message();
  // The reply of the given case of FileResponse.
  FileResponse file_response(std::size_t index);

  // Which cases of each wire enum, by type name, have come up so far, and how many it has.
  struct Coverage {
    std::size_t size = 0;
    std::set<std::size_t> seen;
  };
  std::map<std::string_view, Coverage> coverage;

 private:
  u64 state_;
  Small small_;
};

}  // namespace mirrord::proto
