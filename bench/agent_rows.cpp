// bench/agent_rows.cpp — the agent alone: what a client of its wire protocol sees on loopback.
//
// Limits: the original's figure divided by its direct row (reference measurements, same kind of
// machine), times the share of it that ours may take. Where the original has no direct row of its
// own, the yardstick is the plain TCP echo of this run, and the limit is the original's time in
// units of that echo (12 µs there).
#include <fcntl.h>
#include <unistd.h>

#include "bench/options.h"
#include "bench/process.h"
#include "bench/relay.h"
#include "bench/wire_client.h"

namespace mirrord::bench {
namespace {

using proto::ClientMessage;
using proto::FileRequest;
using proto::Path;

constexpr double kEchoThere = 12;  // µs of a plain echo where the original was measured
constexpr const char* kEcho = "plain TCP echo of 1 B";

struct Bench {
  const Options& options;
  Rows& rows;
  std::uint16_t port;
  double echo_us = 0;

  int count(int full) const { return std::max(full / options.scale, 10); }
  // A time judged against the echo: `original` µs there times `share`.
  void add(const std::string& name, double us, double original, double share) {
    rows.push_back({"agent", name, kEcho, echo_us, us, "µs", Kind::kTime,
                    original / kEchoThere * share,
                    "original " + std::to_string(static_cast<int>(original)) + " µs there"});
  }
};

ClientMessage file(FileRequest request) {
  return ClientMessage::make<"FileRequest">(std::move(request));
}

ClientMessage open_message(const std::string& path, bool write = false) {
  proto::OpenOptionsInternal mode{};
  mode.read = !write;
  mode.write = write;
  mode.create = write;
  mode.truncate = write;
  return file(FileRequest::make<"Open">(proto::OpenFileRequest{Path(path), mode}));
}

void measure_echo(Bench& bench) {
  const auto echo = make_echo_server();
  const int fd = connect_to(echo->port());
  bench.echo_us = p50_us(bench.count(20000), [&] {
    char byte = 'x';
    write_all(fd, &byte, 1);
    read_exactly(fd, &byte, 1);
  });
  ::close(fd);
}

void measure_session(Bench& bench) {
  WireClient client(bench.port, "1.29.0");
  const proto::Bytes ping = encode(ClientMessage::make<"Ping">());
  bench.add("ping round trip",
            p50_us(bench.count(20000),
                   [&] {
                     client.send_raw(ping);
                     client.receive();
                   }),
            12, 1.0);

  constexpr int kBatch = 1000;
  proto::Bytes many;
  for (int i = 0; i < kBatch; ++i) {
    many.append(ping.span());
  }
  const double batch_us = p50_us(bench.count(500), [&] {
    client.send_raw(many);
    for (int i = 0; i < kBatch; ++i) {
      client.receive();
    }
  });
  bench.add("ping, 1,000 without waiting, each", batch_us / kBatch, 3.58, 1.0 / 3);
  bench.add("new connection + version + ping",
            p50_us(bench.count(2000),
                   [&] {
                     WireClient fresh(bench.port, "1.29.0");
                     fresh.send_raw(ping);
                     fresh.receive();
                   }),
            159, 0.7);
  const proto::Bytes all =
      encode(ClientMessage::make<"GetEnvVarsRequest">(proto::GetEnvVarsRequest{{}, {"*"}}));
  bench.add("environment, all",
            p50_us(bench.count(3000),
                   [&] {
                     client.send_raw(all);
                     client.receive();
                   }),
            83, 0.5);
}

void measure_small_files(Bench& bench) {
  const std::string small = bench.options.folder + "/small";
  WireClient client(bench.port, "1.29.0");
  bench.add(
      "open + read + close of 200 B, three trips",
      p50_us(
          bench.count(5000),
          [&] {
            client.send(open_message(small));
            const auto opened = client.receive_file<"Open">();
            client.send(file(FileRequest::make<"Read">(proto::ReadFileRequest{opened->fd, 4096})));
            client.receive_file<"Read">();
            // Nothing answers a close: what follows it in the same write does.
            proto::Bytes together =
                encode(file(FileRequest::make<"Close">(proto::CloseFileRequest{opened->fd})));
            together.append(encode(ClientMessage::make<"Ping">()).span());
            client.send_raw(together);
            client.receive();
          }),
      51, 0.75);
  WireClient flight(bench.port, "1.29.0+flight");
  std::uint64_t next_fd = 0;
  bench.add(
      "the same in one flight",
      p50_us(
          bench.count(5000),
          [&] {
            const std::uint64_t fd = next_fd++;
            proto::Bytes together = encode(open_message(small));
            together.append(
                encode(file(FileRequest::make<"Read">(proto::ReadFileRequest{fd, 4096}))).span());
            together.append(
                encode(file(FileRequest::make<"Close">(proto::CloseFileRequest{fd}))).span());
            flight.send_raw(together);
            flight.receive_file<"Open">();
            if (!flight.receive_file<"Read">()) {
              WireClient::give_up("descriptors are not handed out in order");
            }
          }),
      51, 0.4);
  const ClientMessage stat =
      file(FileRequest::make<"Xstat">(proto::XstatRequest{Path(small), {}, true}));
  bench.add("stat",
            p50_us(bench.count(10000),
                   [&] {
                     client.send(stat);
                     client.receive_file<"Xstat">();
                   }),
            20, 0.7);
  bench.add("open of a missing file",
            p50_us(bench.count(10000),
                   [&] {
                     client.send(open_message(small + "-missing"));
                     client.receive_file<"Open">();
                   }),
            20, 0.7);
}

void measure_listing(Bench& bench) {
  WireClient client(bench.port, "1.29.0");
  bench.add(
      "opendir + 500 entries in batches of 128",
      p50_us(
          bench.count(500),
          [&] {
            client.send(open_message(bench.options.folder + "/entries"));
            const auto opened = client.receive_file<"Open">();
            client.send(file(FileRequest::make<"FdOpenDir">(proto::FdOpenDirRequest{opened->fd})));
            const auto stream = client.receive_file<"OpenDir">();
            for (std::size_t got = 1; got > 0;) {
              client.send(file(
                  FileRequest::make<"ReadDirBatch">(proto::ReadDirBatchRequest{stream->fd, 128})));
              got = client.receive_file<"ReadDirBatch">()->dir_entries.size();
            }
            client.send(file(FileRequest::make<"CloseDir">(proto::CloseDirRequest{stream->fd})));
            client.send(file(FileRequest::make<"Close">(proto::CloseFileRequest{opened->fd})));
          }),
      1142, 0.3);
}

// MiB/s of `total` bytes in requests of `size` with `window` in flight.
double read_rate(Bench& bench, std::uint64_t total, std::uint64_t size, int window) {
  WireClient client(bench.port, "1.29.0");
  client.send(open_message(bench.options.folder + "/large"));
  const std::uint64_t fd = client.receive_file<"Open">()->fd;
  const proto::Bytes request =
      encode(file(FileRequest::make<"Read">(proto::ReadFileRequest{fd, size})));
  const double begin = now_us();
  std::uint64_t done = 0;
  int pending = 0;
  for (std::uint64_t asked = 0; done < total;) {
    for (; pending < window && asked < total; asked += size, ++pending) {
      client.send_raw(request);
    }
    done += client.receive_file<"Read">()->read_amount;
    --pending;
  }
  return static_cast<double>(done) / 1048576 / ((now_us() - begin) / 1e6);
}

// The yardstick: one plain TCP stream on loopback, this run.
double stream_rate(std::uint64_t bytes) {
  const auto source = make_source_server(bytes);
  std::vector<char> buffer(256 * 1024);
  const double begin = now_us();
  const int fd = connect_to(source->port());
  while (::read(fd, buffer.data(), buffer.size()) > 0) {
  }
  const double rate = static_cast<double>(bytes) / 1048576 / ((now_us() - begin) / 1e6);
  ::close(fd);
  return rate;
}

void add_rate(Bench& bench, const std::string& name, double stream, double rate, double original,
              double share) {
  constexpr double kStreamThere = 3807;  // MiB/s of the direct download there
  bench.rows.push_back({"agent", name, "plain TCP stream", stream, rate, "MiB/s", Kind::kRate,
                        original / kStreamThere * share,
                        "original " + std::to_string(static_cast<int>(original)) + " MiB/s there"});
}

void measure_bulk(Bench& bench) {
  constexpr std::uint64_t kMiB = 1 << 20;
  const double stream = std::max(stream_rate(512 * kMiB), stream_rate(512 * kMiB));
  const auto best = [&](int window) {
    double rate = 0;
    for (int i = 0; i < 3; ++i) {
      rate = std::max(rate, read_rate(bench, 64 * kMiB, 64 * 1024, window));
    }
    return rate;
  };
  add_rate(bench, "read 64 MiB by 64 KiB, one at a time", stream, best(1), 1025, 1.2);
  add_rate(bench, "read 64 MiB by 64 KiB, 16 in flight", stream, best(16), 969, 2);

  double written = 0;
  for (int round = 0; round < 3; ++round) {
    WireClient client(bench.port, "1.29.0");
    client.send(open_message(bench.options.folder + "/written", true));
    const std::uint64_t fd = client.receive_file<"Open">()->fd;
    proto::WriteFileRequest request{fd, {}};
    const std::vector<std::byte> zeros(64 * 1024);
    request.write_bytes.append(zeros);
    const proto::Bytes message = encode(file(FileRequest::make<"Write">(std::move(request))));
    const double begin = now_us();
    constexpr int kWrites = 256;
    for (int i = 0; i < kWrites; ++i) {
      client.send_raw(message);
      client.receive_file<"Write">();
    }
    written = std::max(written, 16 / ((now_us() - begin) / 1e6));
  }
  add_rate(bench, "write 16 MiB by 64 KiB", stream, written, 570, 2);
}

proto::SocketAddress to_loopback(std::uint16_t port) {
  return proto::SocketAddress::make<"Ip">(proto::SockAddr{proto::Ip::v4(127, 0, 0, 1), port});
}

std::uint64_t connect_out(WireClient& client, std::uint16_t port) {
  client.send(ClientMessage::make<"TcpOutgoing">(
      proto::LayerTcpOutgoing::make<"ConnectV2">(proto::LayerConnectV2{{}, to_loopback(port)})));
  for (;;) {
    proto::DaemonMessage message = client.receive();
    auto* tcp = message.get_if<"TcpOutgoing">();
    if (auto* reply = tcp != nullptr ? tcp->get_if<"ConnectV2">() : nullptr) {
      if (!reply->connect) {
        WireClient::give_up("the agent could not connect");
      }
      return reply->connect->connection_id;
    }
  }
}

ClientMessage write_out(std::uint64_t id, std::span<const std::byte> bytes) {
  proto::LayerWrite write{id, proto::Bytes(bytes)};
  return ClientMessage::make<"TcpOutgoing">(
      proto::LayerTcpOutgoing::make<"Write">(std::move(write)));
}

// Bytes of the next read of connection data; 0 at its end.
std::size_t receive_data(WireClient& client) {
  for (;;) {
    proto::DaemonMessage message = client.receive();
    auto* tcp = message.get_if<"TcpOutgoing">();
    if (tcp == nullptr) {
      continue;
    }
    if (auto* read = tcp->get_if<"Read">()) {
      return read->has_value() ? (*read)->bytes.size() : 0;
    }
    if (tcp->is<"Close">()) {
      return 0;
    }
  }
}

void close_out(WireClient& client, std::uint64_t id) {
  client.send(ClientMessage::make<"TcpOutgoing">(
      proto::LayerTcpOutgoing::make<"Close">(proto::LayerClose{id})));
}

void measure_outgoing(Bench& bench) {
  const auto echo = make_echo_server();
  WireClient client(bench.port, "1.29.0");
  bench.add(
      "outgoing TCP connect",
      p50_us(bench.count(2000), [&] { close_out(client, connect_out(client, echo->port())); }), 141,
      0.7);
  const std::vector<std::byte> small(64);
  bench.add("outgoing connect + first echo",
            p50_us(bench.count(1000),
                   [&] {
                     const std::uint64_t id = connect_out(client, echo->port());
                     client.send(write_out(id, small));
                     receive_data(client);
                     close_out(client, id);
                   }),
            241, 0.7);
  const std::uint64_t id = connect_out(client, echo->port());
  const proto::Bytes packet = encode(write_out(id, small));
  bench.add("echo of 64 B on an open connection",
            p50_us(bench.count(10000),
                   [&] {
                     client.send_raw(packet);
                     receive_data(client);
                   }),
            65, 0.6);
  close_out(client, id);
  const double many_us = p50_us(std::max(20 / bench.options.scale, 3), [&] {
    WireClient fresh(bench.port, "1.29.0");
    constexpr int kConnections = 200;
    for (int i = 0; i < kConnections; ++i) {
      fresh.send(ClientMessage::make<"TcpOutgoing">(proto::LayerTcpOutgoing::make<"ConnectV2">(
          proto::LayerConnectV2{{}, to_loopback(echo->port())})));
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
  });
  bench.add("200 connections at once, each one echo", many_us, 26000, 0.5);
}

void measure_outgoing_bulk(Bench& bench) {
  constexpr std::uint64_t kBytes = 256U << 20;
  const double stream = std::max(stream_rate(kBytes), stream_rate(kBytes));
  const auto source = make_source_server(kBytes);
  double download = 0;
  double upload = 0;
  for (int round = 0; round < 3; ++round) {
    WireClient client(bench.port, "1.29.0");
    const double begin = now_us();
    connect_out(client, source->port());
    std::uint64_t got = 0;
    for (std::size_t step; (step = receive_data(client)) > 0;) {
      got += step;
    }
    if (got != kBytes) {
      WireClient::give_up("the download is incomplete");
    }
    download = std::max(download, 256 / ((now_us() - begin) / 1e6));
  }
  const auto sink = make_sink_server();
  const std::vector<std::byte> block(64 * 1024);
  for (int round = 0; round < 3; ++round) {
    WireClient client(bench.port, "1.29.0");
    const double begin = now_us();
    const std::uint64_t id = connect_out(client, sink->port());
    const proto::Bytes message = encode(write_out(id, block));
    for (std::uint64_t sent = 0; sent < kBytes; sent += block.size()) {
      client.send_raw(message);
    }
    client.send(write_out(id, {}));
    if (receive_data(client) != 1) {
      WireClient::give_up("the sink did not answer");
    }
    upload = std::max(upload, 256 / ((now_us() - begin) / 1e6));
  }
  add_rate(bench, "download 256 MiB", stream, download, 729, 2);
  add_rate(bench, "upload 256 MiB", stream, upload, 1088, 1.5);
}

void measure_lookup(Bench& bench) {
  WireClient client(bench.port, "1.29.0");
  const ClientMessage lookup = ClientMessage::make<"GetAddrInfoRequestV2">(
      proto::GetAddrInfoRequestV2{"localhost", 0, proto::AddressFamily::make<"Both">(),
                                  proto::SockType::make<"Stream">(), 0, 0});
  bench.add("DNS, localhost",
            p50_us(bench.count(3000),
                   [&] {
                     client.send(lookup);
                     client.receive();
                   }),
            135, 0.5);
}

}  // namespace

namespace {

void with_agent(const Options& options, Rows& rows, void (*measure)(Bench&, const Background&)) {
  Bench bench{options, rows, free_port()};
  const Background agent(
      {options.mirrord, "agent", "-l", std::to_string(bench.port), "-t", "60", "targetless"},
      "agent ready");
  const WireClient holder(bench.port, "1.29.0");  // the agent ends with its last client
  measure(bench, agent);
}

void measure_times(Bench& bench, const Background& agent) {
  bench.rows.push_back({"agent", "resident memory, one idle client", "allowed", 8,
                        resident_mib(agent.pid()), "MiB", Kind::kTime, 1, ""});
  measure_echo(bench);
  measure_session(bench);
  measure_small_files(bench);
  measure_listing(bench);
  measure_lookup(bench);
  measure_outgoing(bench);
}

void measure_rates(Bench& bench, const Background&) {
  measure_bulk(bench);
  measure_outgoing_bulk(bench);
}

}  // namespace

void measure_agent(const Options& options, Rows& rows) {
  {
    const OneProcessor pinned;
    with_agent(options, rows, measure_times);
  }
  with_agent(options, rows, measure_rates);
}

}  // namespace mirrord::bench
