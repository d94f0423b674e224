// tests/agent/incoming/fixture.h — sessions of an agent whose redirector is the test: it decides which
// connections arrive.
#pragma once

#include <gtest/gtest.h>

#include <future>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "applets/agent/incoming/incoming.h"
#include "applets/agent/session.h"
#include "tests/agent/traffic/fixture.h"

namespace mirrord::test {

// What the test can make of the redirector.
struct FakeRedirects {
  std::set<std::uint16_t> ports;
  agent::Redirector::Accepted accepted;
  std::optional<Error> refusal;  // of the next ports
  int changes = 0;
};

class FakeRedirector final : public agent::Redirector {
 public:
  FakeRedirector(net::Loop& loop, FakeRedirects& state) : loop_(loop), state_(state) {}
  void add_port(std::uint16_t port, Done done) override {
    ++state_.changes;
    Status status;
    if (state_.refusal)
      status = std::unexpected(*state_.refusal);
    else
      state_.ports.insert(port);
    loop_.post([done = std::move(done), status = std::move(status)]() mutable { done(status); });
  }
  void remove_port(std::uint16_t port, Done done) override {
    ++state_.changes;
    state_.ports.erase(port);
    loop_.post([done = std::move(done)]() mutable { done({}); });
  }
  Status exempt(int, const sockaddr_storage&) override { return {}; }
  std::string_view name() const override { return "fake"; }

 private:
  net::Loop& loop_;
  FakeRedirects& state_;
};

class IncomingAgent {
 public:
  explicit IncomingAgent(agent::IncomingSettings settings = {}) {
    target_.name = "test";
    incoming_ = std::make_unique<agent::Incoming>(
        loop_, settings,
        [this](agent::Redirector::Accepted accepted) -> Result<std::unique_ptr<agent::Redirector>> {
          redirects_.accepted = std::move(accepted);
          return std::make_unique<FakeRedirector>(loop_, redirects_);
        });
    keep_awake_ = std::make_unique<net::Timer>(loop_);
    keep_awake_->start_repeating(std::chrono::hours(1), [] {});
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~IncomingAgent() {
    call([this] {
      sessions_.clear();
      incoming_.reset();
      keep_awake_.reset();
    });
    loop_.post([this] { loop_.stop(); });
    thread_.join();
  }
  IncomingAgent(const IncomingAgent&) = delete;
  IncomingAgent& operator=(const IncomingAgent&) = delete;

  // Runs it on the agent's thread and waits.
  void call(std::function<void()> what) {
    std::promise<void> done;
    loop_.post([&] {
      what();
      done.set_value();
    });
    done.get_future().wait();
  }

  // A new client that speaks this version.
  std::unique_ptr<Client> connect(const char* version = "1.29.0") {
    auto [ours, theirs] = tcp_pair();
    call([&] {
      const int id = next_id_++;
      sessions_.emplace(
          id, std::make_unique<agent::Session>(
                  loop_, target_, log_, std::move(theirs), "test client",
                  agent::Session::Handlers{
                      .known = [] {},
                      .ended = [this, id] { loop_.defer([this, id] { sessions_.erase(id); }); }},
                  incoming_.get()));
    });
    auto client = std::make_unique<Client>(std::move(ours));
    EXPECT_TRUE(client->shake_hands(*proto::SemVer::parse(version)));
    client->send(ClientMessage::make<"ReadyForLogs">());
    return client;
  }

  // Somebody connects to the target's port, past the redirect or into it.
  Fd arrive(const Server& target) {
    auto [ours, theirs] = tcp_pair();
    bool is_redirected = false;
    call([&] {
      is_redirected = redirects_.ports.contains(target.endpoint().port);
      if (!is_redirected)
        return;
      agent::Redirected redirected{std::move(theirs), {}, {}};
      socklen_t size = sizeof redirected.peer;
      ::getpeername(redirected.socket.get(), reinterpret_cast<sockaddr*>(&redirected.peer), &size);
      target.endpoint().to_sockaddr(redirected.destination);
      redirects_.accepted(std::move(redirected));
    });
    if (is_redirected)
      return std::move(ours);
    Fd direct(::socket(target.endpoint().ip.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage address{};
    const socklen_t size = target.endpoint().to_sockaddr(address);
    EXPECT_EQ(::connect(direct.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    return direct;
  }

  bool is_redirected(std::uint16_t port) {
    bool result = false;
    call([&] { result = redirects_.ports.contains(port); });
    return result;
  }
  // Waits until the port is, or is not, redirected.
  bool becomes(std::uint16_t port, bool redirected) {
    for (int i = 0; i < 2000; ++i) {
      if (is_redirected(port) == redirected)
        return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }
  void refuse(Error error) {
    call([&] { redirects_.refusal = std::move(error); });
  }
  int changes() {
    int result = 0;
    call([&] { result = redirects_.changes; });
    return result;
  }

 private:
  net::Loop loop_;
  agent::Target target_;
  FakeRedirects redirects_;
  std::unique_ptr<agent::Incoming> incoming_;
  log::Log log_;  // writes nowhere
  std::map<int, std::unique_ptr<agent::Session>> sessions_;
  int next_id_ = 0;
  std::unique_ptr<net::Timer> keep_awake_;
  std::thread thread_;
};

// ---- what clients say and hear

inline void steal(Client& client, std::uint16_t port) {
  client.send(ClientMessage::make<"TcpSteal">(
      proto::LayerTcpSteal::make<"PortSubscribe">(proto::StealType::make<"All">(port))));
}
inline void steal_filtered(Client& client, std::uint16_t port, proto::HttpFilter filter) {
  client.send(ClientMessage::make<"TcpSteal">(proto::LayerTcpSteal::make<"PortSubscribe">(
      proto::StealType::make<"FilteredHttpEx">(port, std::move(filter)))));
}
inline void steal_by_header(Client& client, std::uint16_t port, const std::string& pattern) {
  client.send(ClientMessage::make<"TcpSteal">(proto::LayerTcpSteal::make<"PortSubscribe">(
      proto::StealType::make<"FilteredHttp">(port, pattern))));
}
inline void unsteal(Client& client, std::uint16_t port) {
  client.send(ClientMessage::make<"TcpSteal">(proto::LayerTcpSteal::make<"PortUnsubscribe">(port)));
}
inline void mirror(Client& client, std::uint16_t port) {
  client.send(ClientMessage::make<"Tcp">(proto::LayerTcp::make<"PortSubscribe">(port)));
}
inline void unmirror(Client& client, std::uint16_t port) {
  client.send(ClientMessage::make<"Tcp">(proto::LayerTcp::make<"PortUnsubscribe">(port)));
}

enum class From { kMirror, kSteal };

// The next message of that kind of traffic.
inline std::optional<proto::DaemonTcp> next_of(
    Client& client, From from, std::chrono::milliseconds patience = Client::kPatience) {
  auto message = client.receive_if(
      [&](const DaemonMessage& candidate) {
        return from == From::kMirror ? candidate.is<"Tcp">() : candidate.is<"TcpSteal">();
      },
      patience);
  if (!message)
    return std::nullopt;
  return from == From::kMirror ? std::move(message->get<"Tcp">())
                               : std::move(message->get<"TcpSteal">());
}

// The next message in short: its kind and what identifies it.
inline std::string next_text(Client& client, From from,
                             std::chrono::milliseconds patience = Client::kPatience) {
  const auto message = next_of(client, from, patience);
  if (!message)
    return "<nothing>";
  if (const auto* data = message->get_if<"Data">()) {
    const std::string id = std::to_string(data->connection_id);
    return data->bytes.empty() ? "end " + id : "data " + id + " " + std::string(data->bytes.text());
  }
  if (const auto* closed = message->get_if<"Close">())
    return "close " + std::to_string(closed->connection_id);
  if (const auto* result = message->get_if<"SubscribeResult">())
    return *result ? "subscribed " + std::to_string(**result) : "refused";
  if (const auto* first = message->get_if<"NewConnectionV1">())
    return "new1 " + std::to_string(first->connection_id);
  if (const auto* second = message->get_if<"NewConnectionV2">())
    return "new2 " + std::to_string(second->connection.connection_id);
  return std::string(message->name());
}

inline void answer(Client& client, proto::ConnectionId id, std::string_view text) {
  client.send(
      ClientMessage::make<"TcpSteal">(proto::LayerTcpSteal::make<"Data">(id, proto::Bytes(text))));
}
inline void drop(Client& client, proto::ConnectionId id) {
  client.send(
      ClientMessage::make<"TcpSteal">(proto::LayerTcpSteal::make<"ConnectionUnsubscribe">(id)));
}

// The next log line for the user.
inline std::string next_log(Client& client) {
  const auto message = client.receive_if(
      [](const DaemonMessage& candidate) { return candidate.is<"LogMessage">(); });
  return message ? message->get<"LogMessage">().message : "<nothing>";
}

// What ended the connection: "" in good order, "reset".
inline std::string end_of(int fd) {
  char block[4096];
  while (true) {
    const ssize_t count = ::recv(fd, block, sizeof block, 0);
    if (count == 0)
      return "";
    if (count < 0)
      return errno == ECONNRESET ? "reset" : "error";
  }
}

}  // namespace mirrord::test
