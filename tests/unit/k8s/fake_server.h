// tests/unit/k8s/fake_server.h — an API server of one thread: for each connection it runs a script
// that reads the request and talks as the test wants.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "net/fd.h"
#include "tests/support/sockets.h"

namespace mirrord::k8s {

// One connection, blocking; every read ends after some seconds at the latest.
class FakeConnection {
 public:
  explicit FakeConnection(Fd socket);

  std::string read_head();  // up to the empty line; empty when the client is gone
  void write(const std::string& text);
  std::string read(std::size_t size);  // shorter at the end
  std::string read_some();             // empty at the end
  struct Frame {
    int opcode = -1;  // -1: the client is gone
    std::string payload;
  };
  Frame read_frame();
  // Answers a WebSocket request with 101 and the protocol.
  bool accept_websocket(const std::string& head, const std::string& protocol);
  void close() { socket_.reset(); }
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  bool fill();
  Fd socket_;
  std::string kept_;
};

class FakeServer {
 public:
  // `script` runs for one connection after another, on the server's thread.
  explicit FakeServer(std::function<void(FakeConnection&)> script);
  ~FakeServer();
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  [[nodiscard]] std::uint16_t port() const { return listener_.port; }
  [[nodiscard]] std::string url() const {
    return "http://127.0.0.1:" + std::to_string(listener_.port);
  }

 private:
  test::Listener listener_;
  std::function<void(FakeConnection&)> script_;
  std::atomic<bool> is_over_ = false;
  std::thread thread_;
};

// The value of a header in a request's head.
std::string header_of(const std::string& head, const std::string& name);

}  // namespace mirrord::k8s
