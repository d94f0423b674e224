// bench/agent_bench.h — what the rows of the agent alone share: the yardstick, limits, messages.
#pragma once

#include <string>

#include "bench/measure.h"
#include "bench/options.h"
#include "bench/process.h"
#include "bench/relay.h"
#include "bench/wire_client.h"

namespace mirrord::bench {

constexpr double kEchoThere = 12;      // µs of a plain echo where the original was measured
constexpr double kStreamThere = 3807;  // MiB/s of a plain TCP stream there

// A plain TCP echo of one byte.
class EchoYardstick {
 public:
  EchoYardstick() : server_(make_echo_server()), fd_(connect_to(server_->port())) {}
  ~EchoYardstick();
  EchoYardstick(const EchoYardstick&) = delete;
  EchoYardstick& operator=(const EchoYardstick&) = delete;
  double sample_us() const;

 private:
  std::unique_ptr<Server> server_;
  int fd_;
};

// Rows of an agent that runs on `port`.
struct AgentBench {
  const Options& options;
  Rows& rows;
  std::uint16_t port;
  pid_t pid;
  EchoYardstick echo;

  int count(int full) const { return std::max(full / options.scale, 160); }
  // A time judged against the echo: `original` µs there times `share`. `operation` does `times` of
  // what is measured at once; `per_turn` as in measure_paired.
  void add(const std::string& name, int repetitions, double original, double share,
           const std::function<void()>& operation, int times = 1, int per_turn = 32);
};

proto::ClientMessage file_message(proto::FileRequest request);
proto::ClientMessage open_message(const std::string& path, bool write = false);
proto::SocketAddress to_loopback(std::uint16_t port);
// The id of a new TCP connection of the agent to a port of this machine.
std::uint64_t connect_out(WireClient& client, std::uint16_t port);
proto::ClientMessage write_out(std::uint64_t id, std::span<const std::byte> bytes);
// Bytes of the next read of connection data; 0 at its end.
std::size_t receive_data(WireClient& client);
void close_out(WireClient& client, std::uint64_t id);

void measure_agent_rates(AgentBench& bench);

}  // namespace mirrord::bench
