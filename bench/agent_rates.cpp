// bench/agent_rates.cpp — the agent alone: MiB/s of files and connections, against a plain stream.
#include <unistd.h>

#include "bench/agent_bench.h"

namespace mirrord::bench {
namespace {

using proto::FileRequest;

constexpr int kRateRounds = 9;

// MiB/s of `total` bytes in requests of `size` with `window` in flight.
double read_rate(AgentBench& bench, std::uint64_t total, std::uint64_t size, int window) {
  WireClient client(bench.port, "1.29.0");
  client.send(open_message(bench.options.folder + "/large"));
  const std::uint64_t fd = client.receive_file<"Open">()->fd;
  const proto::Bytes request =
      encode(file_message(FileRequest::make<"Read">(proto::ReadFileRequest{fd, size})));
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

void add_rate(AgentBench& bench, const std::string& name, double original, double share,
              std::uint64_t stream_bytes, const std::function<double()>& rate) {
  Row row{"agent",
          name,
          "plain TCP stream",
          0,
          0,
          "MiB/s",
          Kind::kRate,
          original / kStreamThere * share,
          "original " + std::to_string(static_cast<int>(original)) + " MiB/s there"};
  row.set(measure_rounds(
      kRateRounds, [&] { return stream_rate(stream_bytes); }, rate));
  bench.rows.push_back(std::move(row));
}

double write_rate(AgentBench& bench) {
  WireClient client(bench.port, "1.29.0");
  client.send(open_message(bench.options.folder + "/written", true));
  const std::uint64_t fd = client.receive_file<"Open">()->fd;
  proto::WriteFileRequest request{fd, {}};
  const std::vector<std::byte> zeros(64 * 1024);
  request.write_bytes.append(zeros);
  const proto::Bytes message = encode(file_message(FileRequest::make<"Write">(std::move(request))));
  const double begin = now_us();
  constexpr int kWrites = 256;
  for (int i = 0; i < kWrites; ++i) {
    client.send_raw(message);
    client.receive_file<"Write">();
  }
  return 16 / ((now_us() - begin) / 1e6);
}

double download_rate(AgentBench& bench, std::uint16_t source, std::uint64_t bytes) {
  WireClient client(bench.port, "1.29.0");
  const double begin = now_us();
  connect_out(client, source);
  std::uint64_t got = 0;
  for (std::size_t step; (step = receive_data(client)) > 0;) {
    got += step;
  }
  if (got != bytes) {
    WireClient::give_up("the download is incomplete");
  }
  return static_cast<double>(bytes) / 1048576 / ((now_us() - begin) / 1e6);
}

double upload_rate(AgentBench& bench, std::uint16_t sink, std::uint64_t bytes) {
  const std::vector<std::byte> block(64 * 1024);
  WireClient client(bench.port, "1.29.0");
  const double begin = now_us();
  const std::uint64_t id = connect_out(client, sink);
  const proto::Bytes message = encode(write_out(id, block));
  for (std::uint64_t sent = 0; sent < bytes; sent += block.size()) {
    client.send_raw(message);
  }
  client.send(write_out(id, {}));
  if (receive_data(client) != 1) {
    WireClient::give_up("the sink did not answer");
  }
  return static_cast<double>(bytes) / 1048576 / ((now_us() - begin) / 1e6);
}

}  // namespace

void measure_agent_rates(AgentBench& bench) {
  constexpr std::uint64_t kMiB = 1 << 20;
  add_rate(bench, "read 64 MiB by 64 KiB, one at a time", 1025, 1.2, 64 * kMiB,
           [&] { return read_rate(bench, 64 * kMiB, 64 * 1024, 1); });
  add_rate(bench, "read 64 MiB by 64 KiB, 16 in flight", 969, 2, 64 * kMiB,
           [&] { return read_rate(bench, 64 * kMiB, 64 * 1024, 16); });
  add_rate(bench, "write 16 MiB by 64 KiB", 570, 2, 64 * kMiB, [&] { return write_rate(bench); });
  constexpr std::uint64_t kBytes = 256 * kMiB;
  const auto source = make_source_server(kBytes);
  add_rate(bench, "download 256 MiB", 729, 2, kBytes,
           [&] { return download_rate(bench, source->port(), kBytes); });
  const auto sink = make_sink_server();
  add_rate(bench, "upload 256 MiB", 1088, 1.5, kBytes,
           [&] { return upload_rate(bench, sink->port(), kBytes); });
}

}  // namespace mirrord::bench
