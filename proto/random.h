// proto/random.h — random messages for tests and fuzzing.
#pragma once

#include <map>
#include <set>
#include <string_view>

#include "proto/client_message.h"
#include "proto/daemon_message.h"

namespace mirrord::proto {

// The same seed gives the same messages on every machine.
class Random {
 public:
  explicit Random(u64 seed) : state_(seed) {}

  u64 next();            // SplitMix64
  u64 below(u64 limit);  // limit > 0

  // Every message is fit for the wire and in the form that decoding would give it back in.
  ClientMessage client_message();
  DaemonMessage daemon_message();

  // Which cases of each wire enum, by type name, have come up so far, and how many it has.
  struct Coverage {
    std::size_t size = 0;
    std::set<std::size_t> seen;
  };
  std::map<std::string_view, Coverage> coverage;

 private:
  u64 state_;
};

}  // namespace mirrord::proto
