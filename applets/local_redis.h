// applets/local_redis.h — a Redis server of a session's own, on this machine.
#pragma once

#include <string>

#include "applets/config/config.h"
#include "net/error.h"
#include "net/fd.h"

namespace mirrord {

// Of the process that stays with a server.
inline constexpr char kRedisKeeperName[] = "mirrord-redis";

struct StartedRedis {
  std::string runtime;  // "native", or the program that runs its container
  Fd lifeline;          // the server ends when no process has it open any more
};

// Starts one in a container or as a program, and waits until it answers: up to 10 seconds, for a container
// (whose image may have to come first) up to 3 minutes. A process of ours stays with it, which is nobody's
// child, and outlives this one. Call while the process has one thread.
Result<StartedRedis> start_local_redis(const config::LocalRedis& redis);

}  // namespace mirrord
