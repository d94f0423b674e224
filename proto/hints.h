// proto/hints.h — flow hints between our own peers, in messages that foreign peers ignore.
//
// The wire has no window per outgoing connection: one program that stops reading would in the end
// stop all traffic of its session. So peers that know each other by kFlight may send `Close` with an
// id that no connection can have (ids count up from 0, a Close of an unknown id is ignored by all
// implementations): the upper three bits say what is meant, the others name the connection.
#pragma once

#include "proto/basic.h"

namespace mirrord::proto {

enum class Hint : u64 {
  kNone = 0,   // an ordinary Close
  kPause = 4,  // send no more data of this connection until kResume
  kResume = 5,
  kReset = 6,  // client to server: close the connection, with a reset (the program aborted it)
};

inline constexpr int kHintShift = 61;

constexpr ConnectionId with_hint(Hint hint, ConnectionId id) {
  return static_cast<u64>(hint) << kHintShift | id;
}
constexpr Hint hint_of(ConnectionId id) {
  return static_cast<Hint>(id >> kHintShift);
}
constexpr ConnectionId without_hint(ConnectionId id) {
  return id & ((u64{1} << kHintShift) - 1);
}

}  // namespace mirrord::proto
