// tests/unit/intproxy/delivery_rig.h — HttpDelivery in a thread of its own, between an agent and servers that
// the test plays itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "applets/intproxy/agent_link.h"
#include "applets/intproxy/http_delivery.h"
#include "net/fd.h"
#include "net/loop.h"
#include "proto/client_message.h"
#include "proto/daemon_message.h"
#include "proto/stream_decoder.h"

namespace mirrord::intproxy::test {

// One connection that the delivery made, as its server has it. Waits at most five seconds for anything.
class ServerEnd {
 public:
  explicit ServerEnd(Fd socket) : socket_(std::move(socket)) {}
  [[nodiscard]] bool is_open() const { return socket_.is_open(); }
  // All up to the end of `mark`, or what came before the end or the time limit.
  std::string read_until(std::string_view mark);
  std::string read_exactly(std::size_t size);
  std::string read_to_end();  // "" and more; ends with the connection
  bool has_ended();           // nothing but the end comes
  bool write(std::string_view text);
  void finish_writing();
  void close() { socket_.reset(); }
  void reset();  // as a program that is killed with unread input
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  bool fill();
  Fd socket_;
  std::string buffer_;
};

class TestServer {
 public:
  TestServer();
  ServerEnd accept();
  bool nobody_comes();  // for a moment
  void stop() { listener_.reset(); }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::uint64_t inode() const;

 private:
  Fd listener_;
  std::uint16_t port_ = 0;
};

class DeliveryRig {
 public:
  // `version`: the agent's own.
  explicit DeliveryRig(const std::string& version = "1.29.0", bool speaks_flight = true);
  ~DeliveryRig();
  DeliveryRig(const DeliveryRig&) = delete;
  DeliveryRig& operator=(const DeliveryRig&) = delete;

  // Port `kPort` of the target is that server's; 0: nobody's.
  void listen(std::uint16_t port) { server_port_ = port; }
  static constexpr proto::Port kPort = 80;

  // ---- the agent
  void say(proto::DaemonTcp&& message, bool is_mirrored = false);
  // The next message about incoming traffic; nothing after five seconds, or at the connection's end.
  std::optional<proto::LayerTcpSteal> hear();
  bool hears_nothing();  // for a moment
  std::optional<proto::ClientMessage> hear_any(int limit_ms);
  void hang_up() { agent_.reset(); }
  // How many connections to programs the delivery has told to be closed.
  [[nodiscard]] int closed_sockets() const { return closed_; }
  // What the delivery thinks is on its way to programs, and the clients' addresses it has shown them.
  std::size_t queued_bytes();
  std::vector<net::Endpoint> peers();

 private:
  class Listeners;
  void run(Fd socket);
  template <class Question>
  auto ask(Question question);

  std::atomic<std::uint16_t> server_port_ = 0;
  std::atomic<int> closed_ = 0;
  Fd agent_;
  proto::ClientStreamDecoder decoder_;
  std::atomic<net::Loop*> loop_ = nullptr;
  HttpDelivery* delivery_ = nullptr;  // the thread's
  std::vector<net::Endpoint>* peers_ = nullptr;
  std::thread thread_;
};

// ---- messages of agents, newest form first

struct TestRequest {
  proto::ConnectionId connection = 7;
  std::string method = "GET";
  std::string uri = "/";
  proto::HttpVersion version = proto::HttpVersion::kHttp11;
  std::vector<std::pair<std::string, std::string>> headers = {{"host", "shop"}};
  std::string body = {};
  bool is_last = true;
  net::Endpoint remote = {net::IpAddress::v4(10, 1, 2, 3), 4321};
};
proto::DaemonTcp start_v2(const TestRequest& request);
proto::DaemonTcp start_v1(const TestRequest& request);
proto::DaemonTcp framed(const TestRequest& request);
proto::DaemonTcp flat(const TestRequest& request);
proto::DaemonTcp more(proto::ConnectionId connection, std::string_view bytes, bool is_last);
proto::DaemonTcp data(proto::ConnectionId connection, std::string_view bytes);
proto::DaemonTcp close(proto::ConnectionId connection);

// An answer put together again, whichever its form.
struct TestAnswer {
  bool is_there = false;  // all of it
  bool is_broken_off = false;
  std::string form;  // names of its messages, equal neighbours once
  int status = 0;
  std::string body;
  proto::HttpHeaders headers;
  proto::HttpHeaders trailers;
  proto::ConnectionId connection = 0;
};
TestAnswer hear_answer(DeliveryRig& rig);

}  // namespace mirrord::intproxy::test
