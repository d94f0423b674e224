// tests/agent/traffic/exact_flow.h — conversations of random sizes, pauses and half-closes whose
// every byte is known. The seed says everything: MIRRORD_TEST_SEED repeats a run.
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <thread>

#include "proto/random.h"
#include "tests/agent/traffic/fixture.h"

namespace mirrord::test {

inline std::uint64_t test_seed() {
  const char* chosen = std::getenv("MIRRORD_TEST_SEED");
  return chosen != nullptr ? std::strtoull(chosen, nullptr, 10) : std::random_device{}();
}

// SplitMix64 at one place of its sequence.
inline std::uint64_t word_of(std::uint64_t seed, std::uint64_t number) {
  std::uint64_t z = seed + (number + 1) * 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

// The bytes of one direction of a connection.
struct Flow {
  std::uint64_t seed = 0;
  std::size_t size = 0;

  [[nodiscard]] std::string bytes(std::size_t from, std::size_t count) const {
    std::string block;
    block.reserve(count + 16);
    const std::size_t first = from / 8;
    for (std::size_t word = first; block.size() < count + from % 8; ++word) {
      const std::uint64_t value = word_of(seed, word);
      block.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    return block.substr(from % 8, count);
  }
};

// Compares what arrives with a flow.
struct Checker {
  explicit Checker(Flow expected) : flow(expected) {}
  void take(std::string_view part) {
    if (problem.empty() && got + part.size() > flow.size)
      problem = std::to_string(got + part.size() - flow.size) + " bytes too many";
    else if (problem.empty() && part != flow.bytes(got, part.size()))
      problem = "wrong bytes in the piece at " + std::to_string(got);
    got += part.size();
  }
  void end() {
    if (problem.empty() && got != flow.size)
      problem = "the end after " + std::to_string(got) + " of " + std::to_string(flow.size);
    has_ended = true;
  }
  Flow flow;
  std::size_t got = 0;
  bool has_ended = false;
  std::string problem;  // empty: none so far
};

inline void pause_sometimes(proto::Random& random) {
  if (random.below(12) == 0)
    std::this_thread::sleep_for(std::chrono::milliseconds(random.below(8)));
}

// Odd sizes, now and then large ones.
inline std::size_t piece_size(proto::Random& random) {
  return random.below(4) == 0 ? 1 + random.below(200'000) : 1 + 2 * random.below(2'000);
}

inline void send_flow(int fd, const Flow& flow, proto::Random random) {
  for (std::size_t sent = 0; sent < flow.size;) {
    const std::size_t size = std::min(piece_size(random), flow.size - sent);
    send_all(fd, flow.bytes(sent, size));
    sent += size;
    pause_sometimes(random);
  }
  ::shutdown(fd, SHUT_WR);
}

// To the end; what was wrong, or nothing.
inline std::string receive_flow(int fd, const Flow& flow, proto::Random random) {
  Checker checker(flow);
  std::string block(200'000, 0);
  while (true) {
    const ssize_t count = ::recv(fd, block.data(), piece_size(random), 0);
    if (count < 0)
      return "error " + std::to_string(errno) + " after " + std::to_string(checker.got);
    if (count == 0)
      break;
    checker.take(std::string_view(block).substr(0, static_cast<std::size_t>(count)));
    pause_sometimes(random);
  }
  checker.end();
  return checker.problem;
}

// Who sends when; each side ends its direction as soon as it has sent everything.
enum class Order { kBothAtOnce, kUpThenDown, kDownThenUp };

struct Conversation {
  explicit Conversation(std::uint64_t from_seed) : seed(from_seed) {
    proto::Random random(seed);
    order = static_cast<Order>(random.below(3));
    const auto size = [&]() -> std::size_t {
      return random.below(5) == 0 ? random.below(3) : random.below(2'000'000);
    };
    up = {random.next(), size()};
    down = {random.next(), size()};
  }
  // One end on a socket of its own, to the end of both directions.
  [[nodiscard]] std::string run(int fd, bool is_server) const {
    const Flow& sent = is_server ? down : up;
    const Flow& received = is_server ? up : down;
    const proto::Random random(seed ^ (is_server ? 0x5E : 0xC1));
    const bool waits = order == (is_server ? Order::kUpThenDown : Order::kDownThenUp);
    std::string problem;
    if (waits) {
      problem = receive_flow(fd, received, random);
      send_flow(fd, sent, random);
      return problem;
    }
    std::thread sender([&] { send_flow(fd, sent, random); });
    problem = receive_flow(fd, received, random);
    sender.join();
    return problem;
  }

  std::uint64_t seed;
  Order order;
  Flow up;
  Flow down;
};

}  // namespace mirrord::test
