// tests/unit/k8s/fake_api_server.cpp — objects, refusals and watches over the test server.
#include "tests/unit/k8s/fake_api_server.h"

#include <chrono>
#include <thread>

#include "k8s/json.h"

namespace mirrord::k8s {
namespace {

constexpr std::chrono::milliseconds kPollInterval{5};

}  // namespace

FakeApiServer::FakeApiServer(Handler handler)
    : handler_(std::move(handler)),
      server_([this](const TestRequest& request, TestConnection& connection) {
        answer(request, connection);
      }) {}

FakeApiServer::~FakeApiServer() {
  is_over_ = true;
}

ClientConfig FakeApiServer::config() const {
  ClientConfig config;
  config.server = server_.url();
  config.name_space = "shop";
  return config;
}

std::vector<std::string> FakeApiServer::requests() const {
  const std::scoped_lock lock(mutex_);
  return requests_;
}

bool FakeApiServer::was_asked(std::string_view start) const {
  for (const std::string& request : requests())
    if (request.starts_with(start))
      return true;
  return false;
}

void FakeApiServer::answer(const TestRequest& received, TestConnection& connection) {
  const std::size_t question = received.path.find('?');
  Request request{.method = received.method,
                  .path = received.path.substr(0, question),
                  .query = question == std::string::npos ? "" : received.path.substr(question + 1),
                  .content_type = received.header("Content-Type"),
                  .body = received.body};
  Answer made;
  {
    const std::scoped_lock lock(mutex_);
    requests_.push_back(request.line() + (request.query.empty() ? "" : "?" + request.query));
    made = handler_(request);
  }
  if (!made.next_line)
    return connection.answer(made.status, made.body);
  connection.open_stream();
  while (!is_over_ && !connection.has_client_left()) {
    std::optional<std::string> line;
    {
      const std::scoped_lock lock(mutex_);
      line = made.next_line();
    }
    if (line)
      connection.chunk(*line + "\n");
    else
      std::this_thread::sleep_for(kPollInterval);
  }
  connection.hang_up();
}

FakeApiServer::Answer refusal(int status, const std::string& reason, const std::string& message) {
  return {.status = status,
          .body = Json::object({{"kind", "Status"},
                                {"status", "Failure"},
                                {"code", status},
                                {"reason", reason},
                                {"message", message}})
                      .dump()};
}

}  // namespace mirrord::k8s
