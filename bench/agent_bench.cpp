// bench/agent_bench.cpp — the echo yardstick and the messages of the agent's rows.
#include "bench/agent_bench.h"

#include <unistd.h>

namespace mirrord::bench {

using proto::ClientMessage;
using proto::FileRequest;

EchoYardstick::~EchoYardstick() {
  ::close(fd_);
}

double EchoYardstick::sample_us() const {
  return time_us([this] {
    char byte = 'x';
    write_all(fd_, &byte, 1);
    read_exactly(fd_, &byte, 1);
  });
}

void AgentBench::add(const std::string& name, int repetitions, double original, double share,
                     const std::function<void()>& operation, int times, int per_turn) {
  Row row{"agent",
          name,
          "plain TCP echo of 1 B",
          0,
          0,
          "µs",
          Kind::kTime,
          original / kEchoThere * share,
          "original " + std::to_string(static_cast<int>(original)) + " µs there"};
  row.set(measure_paired(
      count(repetitions), [this] { return echo.sample_us(); },
      [&] { return time_us(operation) / times; }, per_turn));
  rows.push_back(std::move(row));
}

ClientMessage file_message(FileRequest request) {
  return ClientMessage::make<"FileRequest">(std::move(request));
}

ClientMessage open_message(const std::string& path, bool write) {
  proto::OpenOptionsInternal mode{};
  mode.read = !write;
  mode.write = write;
  mode.create = write;
  mode.truncate = write;
  return file_message(FileRequest::make<"Open">(proto::OpenFileRequest{proto::Path(path), mode}));
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

}  // namespace mirrord::bench
