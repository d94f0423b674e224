// tests/unit/k8s/api_server.h — an HTTP/1.1 server for the API client's tests: a thread for each
// connection, one function that answers all requests.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "net/fd.h"
#include "tests/support/sockets.h"

namespace mirrord::k8s {

struct TestRequest {
  std::string method, path, head, body;
  int number = 0;  // from 1, over all connections
  [[nodiscard]] std::string header(const std::string& name) const;
};

// The server's side of one connection.
class TestConnection {
 public:
  explicit TestConnection(int fd) : fd_(fd) {}

  void write(const std::string& text) const;
  // `headers` are whole lines with their ends.
  void answer(int status, const std::string& body, const std::string& headers = {}) const;
  void open_stream() const { write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"); }
  void chunk(const std::string& text) const;
  void end_stream() const { write("0\r\n\r\n"); }
  void hang_up();                // after what was written
  void reset();                  // the client sees ECONNRESET
  void wait_for_client() const;  // until it is gone
  [[nodiscard]] bool has_client_left() const;

 private:
  int fd_;
};

class TestApiServer {
 public:
  using Handler = std::function<void(const TestRequest& request, TestConnection& connection)>;
  explicit TestApiServer(Handler handler);
  ~TestApiServer();
  TestApiServer(const TestApiServer&) = delete;
  TestApiServer& operator=(const TestApiServer&) = delete;

  [[nodiscard]] std::string url() const {
    return "http://127.0.0.1:" + std::to_string(listener_.port);
  }
  [[nodiscard]] std::uint16_t port() const { return listener_.port; }
  std::vector<TestRequest> requests();
  void adopt(Fd socket);  // serves a connection that came by another way
  int connection_count() const { return connection_count_; }

 private:
  void serve(int fd);

  Handler handler_;
  test::Listener listener_;
  std::atomic<bool> is_over_ = false;
  std::atomic<int> connection_count_ = 0;
  std::mutex mutex_;
  std::vector<TestRequest> requests_;
  std::list<Fd> sockets_;
  std::list<std::thread> threads_;
  std::thread accepting_;
};

}  // namespace mirrord::k8s
