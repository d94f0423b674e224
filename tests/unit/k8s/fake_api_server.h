// tests/unit/k8s/fake_api_server.h — an API server for tests: answers requests by a function, many
// connections at a time, and keeps watches open.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "k8s/client_config.h"
#include "net/fd.h"

namespace mirrord::k8s {

class FakeApiServer {
 public:
  struct Request {
    std::string method, path, query, content_type, body;  // the query is still escaped
    // "GET /path"
    [[nodiscard]] std::string line() const { return method + " " + path; }
    [[nodiscard]] bool is_watch() const { return query.find("watch=true") != std::string::npos; }
  };
  struct Answer {
    int status = 200;
    std::string body = "{}";
    // For a watch or log: asked every few milliseconds for what comes next, without its line feed,
    // until the client or the server goes. An empty optional: nothing now.
    std::function<std::optional<std::string>()> next_line;
  };
  // Called on the connections' threads, one call at a time.
  using Handler = std::function<Answer(const Request& request)>;

  explicit FakeApiServer(Handler handler);
  ~FakeApiServer();
  FakeApiServer(const FakeApiServer&) = delete;
  FakeApiServer& operator=(const FakeApiServer&) = delete;

  [[nodiscard]] ClientConfig config() const;  // with the namespace "shop"
  // All requests so far: "METHOD path?query".
  [[nodiscard]] std::vector<std::string> requests() const;
  [[nodiscard]] bool was_asked(std::string_view start) const;

 private:
  void accept_connections();
  void serve(Fd socket);
  bool answer(int fd, const Request& request);

  Handler handler_;
  Fd listener_;
  std::uint16_t port_ = 0;
  std::atomic<bool> is_over_ = false;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
  std::vector<std::thread> connections_;
  std::thread acceptor_;
};

// A Status object as the API server answers with it.
FakeApiServer::Answer refusal(int status, const std::string& reason, const std::string& message);

}  // namespace mirrord::k8s
