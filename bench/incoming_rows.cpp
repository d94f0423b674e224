// bench/incoming_rows.cpp — traffic that reaches the target, stolen and mirrored: the agent alone, whose
// client is the benchmark, and the whole path, where a program under `exec` answers.
//
// Everything but that program runs in a network namespace of its own: that of the target, which is the
// benchmark itself. Limits: the original's figure divided by its direct row, times the share of it that
// ours may take; of the whole path those of a chain of two plain relays.
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <thread>

#include "bench/http_rows.h"
#include "bench/incoming.h"
#include "bench/relay.h"

namespace mirrord::bench {
namespace {

using proto::ClientMessage;
using proto::LayerTcp;
using proto::LayerTcpSteal;

constexpr std::size_t kMessage = 64;
constexpr std::uint64_t kStream = 256U << 20;

void steal(WireClient& client, std::uint16_t port) {
  client.send(ClientMessage::make<"TcpSteal">(
      LayerTcpSteal::make<"PortSubscribe">(proto::StealType::make<"All">(port))));
  if (!receive_tcp<"TcpSteal", "SubscribeResult">(client)) {
    WireClient::give_up("the port cannot be stolen");
  }
}

void mirror(WireClient& client, std::uint16_t port) {
  client.send(ClientMessage::make<"Tcp">(LayerTcp::make<"PortSubscribe">(port)));
  if (!receive_tcp<"Tcp", "SubscribeResult">(client)) {
    WireClient::give_up("the port cannot be mirrored");
  }
}

double ask(int fd) {
  char block[kMessage] = "GET";
  return time_us([&] {
    write_all(fd, block, sizeof block);
    read_exactly(fd, block, sizeof block);
  });
}

// ---- the agent alone

void measure_stolen_requests(const Options& options, Rows& rows) {
  const auto target = make_echo_server();
  const AgentHere agent(options);
  WireClient client(agent.port, "1.29.0");
  const int direct = connect_to(target->port());
  const std::uint16_t port = free_port();
  steal(client, port);
  const int peer = connect_to(port);
  Row row =
      time_row("stolen request on a kept connection", "the same without an agent", 98.0 / 36 * 0.8);
  row.set(measure_paired(
      std::max(5000 / options.scale, 160), [&] { return ask(direct); },
      [&] {
        char block[kMessage] = "GET";
        return time_us([&] {
          write_all(peer, block, sizeof block);
          auto data = receive_tcp<"TcpSteal", "Data">(client);
          client.send(ClientMessage::make<"TcpSteal">(
              LayerTcpSteal::make<"Data">(data.connection_id, std::move(data.bytes))));
          read_exactly(peer, block, sizeof block);
        });
      }));
  rows.push_back(std::move(row));
  ::close(peer);
  ::close(direct);
}

void measure_mirrored_requests(const Options& options, Rows& rows) {
  const auto target = make_echo_server();
  const AgentHere agent(options);
  WireClient client(agent.port, "1.29.0");
  const int direct = connect_to(target->port());
  mirror(client, target->port());
  const int peer = connect_to(target->port());
  Row row = time_row("mirrored request, as the caller sees it", "the same without an agent",
                     259.0 / 36 * 0.4);
  row.set(measure_paired(
      std::max(5000 / options.scale, 160), [&] { return ask(direct); },
      [&] {
        const double us = ask(peer);
        receive_tcp<"Tcp", "Data">(client);
        return us;
      }));
  rows.push_back(std::move(row));
  ::close(peer);
  ::close(direct);
}

double mib_per_second(std::uint64_t bytes, double us) {
  return static_cast<double>(bytes) / 1048576 / (us / 1e6);
}

// Reads to the end; what comes must be as much as was promised.
double download(std::uint16_t port, std::uint64_t bytes) {
  std::vector<char> block(256 * 1024);
  const double begin = now_us();
  const int fd = connect_to(port);
  std::uint64_t got = 0;
  for (ssize_t count; (count = ::read(fd, block.data(), block.size())) > 0;) {
    got += static_cast<std::uint64_t>(count);
  }
  ::close(fd);
  if (got != bytes) {
    WireClient::give_up("a download is incomplete");
  }
  return mib_per_second(bytes, now_us() - begin);
}

double upload(std::uint16_t port, std::uint64_t bytes) {
  const std::vector<char> block(256 * 1024);
  const double begin = now_us();
  const int fd = connect_to(port);
  for (std::uint64_t sent = 0; sent < bytes; sent += block.size()) {
    if (!write_all(fd, block.data(), block.size())) {
      WireClient::give_up("an upload was cut off");
    }
  }
  ::shutdown(fd, SHUT_WR);
  char byte = 0;
  if (!read_exactly(fd, &byte, 1)) {
    WireClient::give_up("an upload was not acknowledged");
  }
  ::close(fd);
  return mib_per_second(bytes, now_us() - begin);
}

// 64 MiB from the client through the agent to the peer; the original's stalled at 18 of 67 MB.
void measure_pushed_back(const Options& options, Rows& rows) {
  constexpr std::uint64_t kBytes = 64U << 20;
  const AgentHere agent(options);
  const auto source = make_source_server(kBytes);
  WireClient client(agent.port, "1.29.0");
  const std::uint16_t port = free_port();
  steal(client, port);
  Row row{"incoming",
          "64 MiB pushed back through a stolen connection",
          "plain TCP stream",
          0,
          0,
          "MiB/s",
          Kind::kRate,
          0,
          ""};
  const std::vector<std::byte> block(64 * 1024);
  row.set(measure_rounds(
      3, [&] { return download(source->port(), kBytes); },
      [&] {
        double rate = 0;
        std::thread reader([&] { rate = download(port, kBytes); });
        const auto connection = receive_tcp<"TcpSteal", "NewConnectionV2">(client).connection;
        const auto send = [&](std::span<const std::byte> bytes) {
          client.send(ClientMessage::make<"TcpSteal">(
              LayerTcpSteal::make<"Data">(connection.connection_id, proto::Bytes(bytes))));
        };
        for (std::uint64_t sent = 0; sent < kBytes; sent += block.size()) {
          send(block);
        }
        send({});
        reader.join();
        return rate;
      }));
  rows.push_back(std::move(row));
}

void measure_first_subscription(const Options& options, Rows& rows) {
  std::vector<double> times;
  for (int i = 0; i < 9; ++i) {
    const AgentHere agent(options);
    WireClient client(agent.port, "1.29.0");
    times.push_back(time_us([&] { steal(client, free_port()); }));
  }
  rows.push_back({"incoming", "first subscription until it is active", "allowed", 30'000 * 0.05,
                  median(times), "µs", Kind::kTime, 1, ""});
}

void measure_idle_connections(const Options& options, Rows& rows) {
  constexpr int kConnections = 10'000;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  const AgentHere agent(options);
  WireClient client(agent.port, "1.29.0");
  const std::uint16_t port = free_port();
  steal(client, port);
  std::vector<int> peers;
  for (int i = 0; i < kConnections; ++i) {
    const int fd = connect_to(port);
    if (fd < 0) {
      WireClient::give_up("the agent takes no more connections");
    }
    peers.push_back(fd);
    receive_tcp<"TcpSteal", "NewConnectionV2">(client);
  }
  rows.push_back({"incoming", "agent resident, 10,000 idle stolen connections", "allowed", 64,
                  resident_mib(agent.process.pid()), "MiB", Kind::kTime, 1, ""});
  for (const int fd : peers) {
    ::close(fd);
  }
}

// ---- the whole path

void measure_whole_requests(const Options& options, const OwnNetwork& network, Rows& rows) {
  const auto target = make_echo_server();
  const auto second = make_plain_relay(target->port());
  const auto first = make_plain_relay(second->port());
  const std::uint16_t port = free_port();
  const Background program = start_program(options, network, "serve-echo", port);
  const int relayed = connect_to(first->port());
  const int stolen = connect_to(port);
  Row row = time_row("whole path: stolen request of 64 B", "two plain TCP relays", 1.5);
  row.set(measure_paired(
      std::max(5000 / options.scale, 160), [&] { return ask(relayed); },
      [&] { return ask(stolen); }));
  rows.push_back(std::move(row));
  ::close(relayed);
  ::close(stolen);
}

void measure_whole_streams(const Options& options, const OwnNetwork& network, Rows& rows) {
  const auto measure = [&](const char* name, const char* work, std::unique_ptr<Server> target,
                           double (*rate)(std::uint16_t, std::uint64_t)) {
    const auto second = make_plain_relay(target->port());
    const auto first = make_plain_relay(second->port());
    const std::uint16_t port = free_port();
    const Background program = start_program(options, network, work, port);
    Row row{"incoming", name, "two plain TCP relays", 0, 0, "MiB/s", Kind::kRate, 0.7, ""};
    row.set(measure_rounds(
        5, [&] { return rate(first->port(), kStream); }, [&] { return rate(port, kStream); }));
    rows.push_back(std::move(row));
  };
  measure("whole path: stolen download of 256 MiB", "serve-source", make_source_server(kStream),
          download);
  measure("whole path: stolen upload of 256 MiB", "serve-sink", make_sink_server(), upload);
}

}  // namespace

void measure_incoming(const Options& options, Rows& rows) {
  const OwnNetwork network;
  if (!network.is_there()) {
    std::fputs("bench: incoming: a network namespace takes root; left out\n", stderr);
    return;
  }
  {
    const OneProcessor pinned;
    measure_stolen_requests(options, rows);
    measure_mirrored_requests(options, rows);
  }
  measure_pushed_back(options, rows);
  measure_first_subscription(options, rows);
  measure_idle_connections(options, rows);
  {
    const OneProcessor pinned;
    measure_whole_requests(options, network, rows);
  }
  measure_whole_streams(options, network, rows);
  measure_http(options, network, rows);
}

}  // namespace mirrord::bench
