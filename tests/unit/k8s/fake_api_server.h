// tests/unit/k8s/fake_api_server.h — an API server for tests that answers whole requests by a function
// and keeps watches open.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "k8s/client_config.h"
#include "tests/unit/k8s/api_server.h"

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
  void answer(const TestRequest& request, TestConnection& connection);

  Handler handler_;
  std::atomic<bool> is_over_ = false;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
  TestApiServer server_;  // last: its threads use the others
};

// A Status object as the API server answers with it.
FakeApiServer::Answer refusal(int status, const std::string& reason, const std::string& message);

}  // namespace mirrord::k8s
