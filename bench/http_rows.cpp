// bench/http_rows.cpp — HTTP requests on a port with filters: those that one picks, and those that none does.
#include "bench/http_rows.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/relay.h"

namespace mirrord::bench {
namespace {

using proto::ClientMessage;
using proto::LayerTcp;
using proto::LayerTcpSteal;

constexpr std::string_view kPicked = "GET / HTTP/1.1\r\nHost: shop\r\nX-User: me\r\n\r\n";
constexpr std::string_view kOther = "GET / HTTP/1.1\r\nHost: shop\r\nX-User: you\r\n\r\n";
constexpr const char* kFilter = "^x-user: me$";

// One answer, by its end: the agent adds fields to its head.
bool read_answer(int fd) {
  std::array<char, 4096> block;
  std::size_t size = 0;
  while (size < block.size()) {
    const ssize_t count = ::read(fd, block.data() + size, block.size() - size);
    if (count <= 0)
      return false;
    size += static_cast<std::size_t>(count);
    if (std::string_view(block.data(), size).ends_with("\r\n\r\nok"))
      return true;
  }
  return false;
}

double ask(int fd, std::string_view request) {
  return time_us([&] {
    if (!write_all(fd, request.data(), request.size()) || !read_answer(fd))
      WireClient::give_up("a request has no answer");
  });
}

void measure_stolen(const Options& options, Rows& rows) {
  const auto target = make_http_server();
  const AgentHere agent(options);
  WireClient client(agent.port, "1.29.0");
  const int direct = connect_to(target->port());
  const std::uint16_t port = free_port();
  client.send(ClientMessage::make<"TcpSteal">(
      LayerTcpSteal::make<"PortSubscribe">(proto::StealType::make<"FilteredHttp">(port, kFilter))));
  receive_tcp<"TcpSteal", "SubscribeResult">(client);
  const int peer = connect_to(port);
  Row row = time_row("request that a filter picks, stolen, on a kept connection",
                     "the same without an agent", 129.0 / 36 * 0.8);
  row.set(measure_paired(
      std::max(5000 / options.scale, 160), [&] { return ask(direct, kPicked); },
      [&] {
        return time_us([&] {
          write_all(peer, kPicked.data(), kPicked.size());
          const auto start = receive_tcp<"TcpSteal", "HttpRequestChunked">(client).get<"StartV2">();
          proto::HttpResponse<proto::Payload> response{};
          response.port = port;
          response.connection_id = start.connection_id;
          response.internal_response.version = proto::HttpVersion::kHttp11;
          response.internal_response.body = proto::Payload(std::string_view("ok"));
          client.send(ClientMessage::make<"TcpSteal">(
              LayerTcpSteal::make<"HttpResponse">(std::move(response))));
          read_answer(peer);
        });
      }));
  rows.push_back(std::move(row));
  ::close(peer);
  ::close(direct);
}

void measure_passed(const Options& options, Rows& rows) {
  const auto target = make_http_server();
  const AgentHere agent(options);
  WireClient client(agent.port, "1.29.0");
  const int direct = connect_to(target->port());
  client.send(ClientMessage::make<"TcpSteal">(LayerTcpSteal::make<"PortSubscribe">(
      proto::StealType::make<"FilteredHttp">(target->port(), kFilter))));
  receive_tcp<"TcpSteal", "SubscribeResult">(client);
  const int peer = connect_to(target->port());
  const Paired paired = measure_paired(
      std::max(5000 / options.scale, 160), [&] { return ask(direct, kOther); },
      [&] { return ask(peer, kOther); });
  rows.push_back({"incoming", "request that no filter picks: above one without an agent", "allowed",
                  40, paired.ours - paired.yardstick, "µs", Kind::kTime, 1, ""});
  ::close(peer);
  ::close(direct);
}

void measure_mirrored(const Options& options, Rows& rows) {
  const auto target = make_http_server();
  const AgentHere agent(options);
  WireClient client(agent.port, "1.29.0");
  const int direct = connect_to(target->port());
  client.send(ClientMessage::make<"Tcp">(LayerTcp::make<"PortSubscribeFilteredHttp">(
      target->port(), proto::HttpFilter::make<"Header">(kFilter))));
  receive_tcp<"Tcp", "SubscribeResult">(client);
  const int peer = connect_to(target->port());
  Row row = time_row("request that a filter picks, mirrored, as the caller sees it",
                     "the same without an agent", 259.0 / 36 * 0.4);
  row.set(measure_paired(
      std::max(5000 / options.scale, 160), [&] { return ask(direct, kPicked); },
      [&] {
        const double us = ask(peer, kPicked);
        receive_tcp<"Tcp", "HttpRequestChunked">(client);
        return us;
      }));
  rows.push_back(std::move(row));
  ::close(peer);
  ::close(direct);
}

struct Load {
  double per_second = 0;
  double p99_us = 0;
};

// Requests on eight connections, one under way on each.
Load put_load(std::uint16_t port, int count) {
  constexpr std::size_t kConnections = 8;
  std::array<pollfd, kConnections> open{};
  std::array<double, kConnections> since{};
  for (std::size_t i = 0; i < kConnections; ++i)
    open[i] = {.fd = connect_to(port), .events = POLLIN, .revents = 0};
  std::vector<double> times;
  const auto begin_request = [&](std::size_t i) {
    since[i] = now_us();
    write_all(open[i].fd, kPicked.data(), kPicked.size());
  };
  const double begin = now_us();
  for (std::size_t i = 0; i < kConnections; ++i)
    begin_request(i);
  while (std::ssize(times) < count) {
    if (::poll(open.data(), open.size(), 10'000) <= 0)
      WireClient::give_up("requests have no answer");
    for (std::size_t i = 0; i < kConnections; ++i) {
      if (open[i].revents == 0)
        continue;
      if (!read_answer(open[i].fd))
        WireClient::give_up("a connection has ended");
      times.push_back(now_us() - since[i]);
      begin_request(i);
    }
  }
  Load load;
  load.per_second = static_cast<double>(times.size()) / ((now_us() - begin) / 1e6);
  for (const pollfd& one : open)
    ::close(one.fd);
  const auto place = times.begin() + std::ssize(times) * 99 / 100;
  std::ranges::nth_element(times, place);
  load.p99_us = *place;
  return load;
}

void measure_load(const Options& options, const OwnNetwork& network, Rows& rows) {
  const auto target = make_http_server();
  const auto second = make_plain_relay(target->port());
  const auto first = make_plain_relay(second->port());
  const std::uint16_t port = free_port();
  const Background program = start_program(
      options, network, "serve-http", port,
      "{\"mode\": \"steal\", \"http_filter\": {\"header_filter\": \"^x-user: me$\"}}");
  const int count = 40'000 / options.scale;
  put_load(port, 1000);
  std::vector<double> p99_relayed;
  std::vector<double> p99_ours;
  Row row{"incoming",
          "whole path: requests that a filter picks, 8 connections",
          "two plain TCP relays",
          0,
          0,
          "/s",
          Kind::kRate,
          0.5,
          ""};
  row.set(measure_rounds(
      5,
      [&] {
        const Load load = put_load(first->port(), count);
        p99_relayed.push_back(load.p99_us);
        return load.per_second;
      },
      [&] {
        const Load load = put_load(port, count);
        p99_ours.push_back(load.p99_us);
        return load.per_second;
      }));
  rows.push_back(std::move(row));
  Row slowest = time_row("whole path: the same, 99th percentile", "two plain TCP relays", 2);
  slowest.yardstick = median(p99_relayed);
  slowest.ours = median(p99_ours);
  rows.push_back(std::move(slowest));
}

}  // namespace

void measure_http(const Options& options, const OwnNetwork& network, Rows& rows) {
  {
    const OneProcessor pinned;
    measure_stolen(options, rows);
    measure_passed(options, rows);
    measure_mirrored(options, rows);
  }
  measure_load(options, network, rows);
}

}  // namespace mirrord::bench
