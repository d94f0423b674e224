// bench/agent_rows.cpp — the agent alone: what a client of its wire protocol sees on loopback.
//
// Limits: the original's figure divided by its direct row (reference measurements, same kind of
// machine), times the share of it that ours may take. Where the original has no direct row of its
// own, the yardstick is the plain TCP echo of this run, and the limit is the original's time in
// units of that echo (12 µs there). Both are taken sample by sample in turn (measure_paired).
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/agent_bench.h"

namespace mirrord::bench {
namespace {

using proto::ClientMessage;
using proto::FileRequest;
using proto::Path;

// Processor time of the agent is judged in echoes too: the original's 6.0 µs were half of one.
void measure_ping_cpu(AgentBench& bench, WireClient& client, const proto::Bytes& ping) {
  Row row{"agent",
          "ping, processor time of the agent",
          "plain TCP echo of 1 B",
          0,
          0,
          "µs",
          Kind::kTime,
          6.0 / kEchoThere,
          ""};
  constexpr int kPings = 100;
  row.set(measure_paired(
      bench.count(1000), [&] { return bench.echo.sample_us(); },
      [&] {
        const double before = cpu_us(bench.pid);
        for (int i = 0; i < kPings; ++i) {
          client.send_raw(ping);
          client.receive();
        }
        return (cpu_us(bench.pid) - before) / kPings;
      }));
  bench.rows.push_back(std::move(row));
}

void measure_session(AgentBench& bench) {
  WireClient client(bench.port, "1.29.0");
  const proto::Bytes ping = encode(ClientMessage::make<"Ping">());
  bench.add("ping round trip", 20000, 12, 1.0, [&] {
    client.send_raw(ping);
    client.receive();
  });
  measure_ping_cpu(bench, client, ping);

  constexpr int kBatch = 1000;
  proto::Bytes many;
  for (int i = 0; i < kBatch; ++i) {
    many.append(ping.span());
  }
  const auto send_batch = [&] {
    client.send_raw(many);
    for (int i = 0; i < kBatch; ++i) {
      client.receive();
    }
  };
  bench.add("ping, 1,000 without waiting, each", 500, 3.58, 1.0 / 3, send_batch, kBatch, 8);
  bench.add("new connection + version + ping", 2000, 159, 0.7, [&] {
    WireClient fresh(bench.port, "1.29.0");
    fresh.send_raw(ping);
    fresh.receive();
  });
  const proto::Bytes all =
      encode(ClientMessage::make<"GetEnvVarsRequest">(proto::GetEnvVarsRequest{{}, {"*"}}));
  bench.add("environment, all", 3000, 83, 0.5, [&] {
    client.send_raw(all);
    client.receive();
  });
}

void measure_small_files(AgentBench& bench) {
  const std::string small = bench.options.folder + "/small";
  WireClient client(bench.port, "1.29.0");
  bench.add("open + read + close of 200 B, three trips", 5000, 51, 0.75, [&] {
    client.send(open_message(small));
    const auto opened = client.receive_file<"Open">();
    client.send(file_message(FileRequest::make<"Read">(proto::ReadFileRequest{opened->fd, 4096})));
    client.receive_file<"Read">();
    // Nothing answers a close: what follows it in the same write does.
    proto::Bytes together =
        encode(file_message(FileRequest::make<"Close">(proto::CloseFileRequest{opened->fd})));
    together.append(encode(ClientMessage::make<"Ping">()).span());
    client.send_raw(together);
    client.receive();
  });
  WireClient flight(bench.port, "1.29.0+flight");
  std::uint64_t next_fd = 0;
  bench.add("the same in one flight", 5000, 51, 0.4, [&] {
    const std::uint64_t fd = next_fd++;
    proto::Bytes together = encode(open_message(small));
    together.append(
        encode(file_message(FileRequest::make<"Read">(proto::ReadFileRequest{fd, 4096}))).span());
    together.append(
        encode(file_message(FileRequest::make<"Close">(proto::CloseFileRequest{fd}))).span());
    flight.send_raw(together);
    flight.receive_file<"Open">();
    if (!flight.receive_file<"Read">()) {
      WireClient::give_up("descriptors are not handed out in order");
    }
  });
  const ClientMessage stat =
      file_message(FileRequest::make<"Xstat">(proto::XstatRequest{Path(small), {}, true}));
  bench.add("stat", 10000, 20, 0.7, [&] {
    client.send(stat);
    client.receive_file<"Xstat">();
  });
  bench.add("open of a missing file", 10000, 20, 0.7, [&] {
    client.send(open_message(small + "-missing"));
    client.receive_file<"Open">();
  });
}

void measure_listing(AgentBench& bench) {
  WireClient client(bench.port, "1.29.0");
  bench.add("opendir + 500 entries in batches of 128", 500, 1142, 0.3, [&] {
    client.send(open_message(bench.options.folder + "/entries"));
    const auto opened = client.receive_file<"Open">();
    client.send(file_message(FileRequest::make<"FdOpenDir">(proto::FdOpenDirRequest{opened->fd})));
    const auto stream = client.receive_file<"OpenDir">();
    for (std::size_t got = 1; got > 0;) {
      client.send(file_message(
          FileRequest::make<"ReadDirBatch">(proto::ReadDirBatchRequest{stream->fd, 128})));
      got = client.receive_file<"ReadDirBatch">()->dir_entries.size();
    }
    client.send(file_message(FileRequest::make<"CloseDir">(proto::CloseDirRequest{stream->fd})));
    client.send(file_message(FileRequest::make<"Close">(proto::CloseFileRequest{opened->fd})));
  });
}

void measure_lookup(AgentBench& bench) {
  WireClient client(bench.port, "1.29.0");
  const ClientMessage lookup = ClientMessage::make<"GetAddrInfoRequestV2">(
      proto::GetAddrInfoRequestV2{"localhost", 0, proto::AddressFamily::make<"Both">(),
                                  proto::SockType::make<"Stream">(), 0, 0});
  bench.add("DNS, localhost", 3000, 135, 0.5, [&] {
    client.send(lookup);
    client.receive();
  });
}

void measure_udp(AgentBench& bench) {
  const auto server = make_udp_echo_server();
  WireClient client(bench.port, "1.29.0");
  client.send(ClientMessage::make<"UdpOutgoing">(proto::LayerUdpOutgoing::make<"ConnectV2">(
      proto::LayerConnectV2{{}, to_loopback(server->port())})));
  proto::DaemonMessage reply = client.receive();
  const std::uint64_t id = reply.get<"UdpOutgoing">().get<"ConnectV2">().connect->connection_id;
  const std::vector<std::byte> eight(8);
  const proto::Bytes packet = encode(ClientMessage::make<"UdpOutgoing">(
      proto::LayerUdpOutgoing::make<"Write">(proto::LayerWrite{id, proto::Bytes(eight)})));
  bench.add("UDP echo of 8 B", 10000, 47, 0.7, [&] {
    client.send_raw(packet);
    if (!client.receive().is<"UdpOutgoing">()) {
      WireClient::give_up("no datagram came back");
    }
  });
}

// The original's own direct row is the yardstick here: a new connection without an agent.
void measure_first_echo(AgentBench& bench, const Server& server) {
  WireClient client(bench.port, "1.29.0");
  const std::vector<std::byte> small(64);
  Row row{"agent",
          "outgoing connect + first echo",
          "the same without an agent",
          0,
          0,
          "µs",
          Kind::kTime,
          241.0 / 113 * 0.7,
          "original 241 µs there"};
  row.set(measure_paired(
      bench.count(1000),
      [&] {
        return time_us([&] {
          std::array<std::byte, 64> bytes{};
          const int fd = connect_to(server.port());
          write_all(fd, bytes.data(), bytes.size());
          read_exactly(fd, bytes.data(), bytes.size());
          ::close(fd);
        });
      },
      [&] {
        return time_us([&] {
          const std::uint64_t id = connect_out(client, server.port());
          client.send(write_out(id, small));
          receive_data(client);
          close_out(client, id);
        });
      }));
  bench.rows.push_back(std::move(row));
}

void measure_outgoing(AgentBench& bench) {
  const auto server = make_echo_server();
  WireClient client(bench.port, "1.29.0");
  bench.add("outgoing TCP connect", 2000, 141, 0.7,
            [&] { close_out(client, connect_out(client, server->port())); });
  measure_first_echo(bench, *server);
  const std::vector<std::byte> small(64);
  const std::uint64_t id = connect_out(client, server->port());
  const proto::Bytes packet = encode(write_out(id, small));
  bench.add("echo of 64 B on an open connection", 10000, 65, 0.6, [&] {
    client.send_raw(packet);
    receive_data(client);
  });
  close_out(client, id);
  double held_mib = 0;
  const auto open_many = [&] {
    WireClient fresh(bench.port, "1.29.0");
    constexpr int kConnections = 200;
    for (int i = 0; i < kConnections; ++i) {
      fresh.send(ClientMessage::make<"TcpOutgoing">(proto::LayerTcpOutgoing::make<"ConnectV2">(
          proto::LayerConnectV2{{}, to_loopback(server->port())})));
    }
    for (int done = 0; done < kConnections;) {
      proto::DaemonMessage message = fresh.receive();
      auto* tcp = message.get_if<"TcpOutgoing">();
      if (auto* reply = tcp != nullptr ? tcp->get_if<"ConnectV2">() : nullptr) {
        fresh.send(write_out(reply->connect->connection_id, small));
      } else if (tcp != nullptr && tcp->is<"Read">()) {
        ++done;
      }
    }
  };
  bench.add("200 connections at once, each one echo", 160, 26000, 0.5, open_many, 1, 4);
  {
    std::vector<std::uint64_t> ids;
    for (int i = 0; i < 200; ++i) {
      ids.push_back(connect_out(client, server->port()));
    }
    for (const std::uint64_t open : ids) {
      client.send(write_out(open, small));
      receive_data(client);
    }
    held_mib = resident_mib(bench.pid);
    for (const std::uint64_t open : ids) {
      close_out(client, open);
    }
  }
  bench.rows.push_back({"agent", "resident memory, 200 connections", "allowed",
                        17.1 * 0.4 / 1.048576, held_mib, "MiB", Kind::kTime, 1, ""});
}

void measure_times(AgentBench& bench) {
  bench.rows.push_back({"agent", "resident memory, one idle client", "allowed",
                        12.3 * 0.4 / 1.048576, resident_mib(bench.pid), "MiB", Kind::kTime, 1, ""});
  measure_session(bench);
  measure_small_files(bench);
  measure_listing(bench);
  measure_lookup(bench);
  measure_udp(bench);
  measure_outgoing(bench);
}

void with_agent(const Options& options, Rows& rows, void (*measure)(AgentBench&)) {
  const std::uint16_t port = free_port();
  const Background agent(
      {options.mirrord, "agent", "-l", std::to_string(port), "-t", "60", "targetless"},
      "agent ready");
  const WireClient holder(port, "1.29.0");  // the agent ends with its last client
  AgentBench bench{options, rows, port, agent.pid(), {}};
  measure(bench);
}

}  // namespace

void measure_agent(const Options& options, Rows& rows) {
  Rows judged;
  {
    const OneProcessor pinned;
    with_agent(options, judged, measure_times);
  }
  Rows beside;
  with_agent(options, beside, measure_times);
  show_beside(judged, beside);
  rows.insert(rows.end(), judged.begin(), judged.end());
  with_agent(options, rows, measure_agent_rates);
}

}  // namespace mirrord::bench
