// tests/agent/traffic/relay_fixture.h — a session's intproxy between a scripted hook and an agent.
#pragma once

#include <array>
#include <atomic>
#include <fstream>
#include <functional>
#include <thread>

#include "applets/intproxy/address.h"
#include "applets/intproxy/start.h"
#include "tests/agent/traffic/fixture.h"
#include "tests/unit/intproxy/fake_hook.h"

namespace mirrord::test {

using intproxy::test::Answer;
using intproxy::test::FakeHook;

// An intproxy on a thread; ends when its agent is gone.
class IntproxyThread {
 public:
  explicit IntproxyThread(Fd agent, const std::string& settings = {}) {
    char path[] = "/tmp/mirrord-session-XXXXXX";
    directory_ = ::mkdtemp(path);
    if (!settings.empty())
      std::ofstream(directory_ + "/" + local::kSettingsFile) << settings;
    intproxy::SessionOptions options;
    options.directory = directory_;
    options.agent.stream = std::move(agent);
    options.fetch_environment = false;
    options.idle_timeout = std::chrono::milliseconds(50);
    options.start_idle_timeout = std::chrono::milliseconds(10'000);
    std::array<int, 2> ends{};
    [[maybe_unused]] const int made = ::pipe2(ends.data(), O_CLOEXEC);
    reports_ = Fd(ends[0]);
    thread_ = std::thread([options = std::move(options), out = Fd(ends[1])]() mutable {
      [[maybe_unused]] const Status served =
          intproxy::serve_session(std::move(options), std::move(out));
    });
  }
  ~IntproxyThread() { thread_.join(); }
  IntproxyThread(const IntproxyThread&) = delete;
  IntproxyThread& operator=(const IntproxyThread&) = delete;

  void wait_until_ready() {
    std::array<char, 4096> text;
    while (::read(reports_.get(), text.data(), text.size()) > 0) {
    }
  }
  [[nodiscard]] const std::string& directory() const { return directory_; }

 private:
  std::string directory_;
  Fd reports_;
  std::thread thread_;
};

struct Relayed {
  int error = -1;
  local::ConnectReply reply{};
  Fd socket;  // the program's, connected to the relay unless `error`
};

// What the hook does for one connect.
inline Relayed hook_connect(FakeHook& hook, const net::Endpoint& remote, bool waits = true,
                            int type = SOCK_STREAM) {
  Relayed result;
  Fd socket(::socket(remote.ip.family(), type | SOCK_CLOEXEC, 0));
  net::Endpoint own{
      remote.ip.is_v6 ? net::IpAddress::v6_loopback() : net::IpAddress::v4(127, 0, 0, 1), 0};
  sockaddr_storage storage;
  socklen_t length = own.to_sockaddr(storage);
  ::bind(socket.get(), reinterpret_cast<sockaddr*>(&storage), length);
  ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&storage), &length);
  local::ConnectRequest request{};
  request.transport = type == SOCK_STREAM ? local::Transport::kStream : local::Transport::kDatagram;
  request.wait = waits ? 1 : 0;
  request.remote = intproxy::to_local(remote);
  request.local = intproxy::to_local(*net::Endpoint::from_sockaddr(storage));
  hook.send(local::MessageType::kConnect, FakeHook::bytes_of(request));
  const Answer answer = hook.receive(20'000);
  if (!answer.has_come)
    return result;
  result.error = answer.error;
  result.reply = answer.as<local::ConnectReply>();
  if (answer.error == 0 && result.reply.state != local::ConnectState::kBypass) {
    length = intproxy::endpoint_of(result.reply.relay)->to_sockaddr(storage);
    if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0)
      result.error = errno;
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    result.socket = std::move(socket);
  }
  return result;
}

class RelayTest : public ::testing::Test {
 protected:
  RelayTest() {
    char path[] = "/tmp/mirrord-target-XXXXXX";
    root_ = ::mkdtemp(path);
    std::filesystem::create_directories(root_ + "/etc");
    agent::Target target;
    target.root = Fd(::open(root_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    agent_ = std::make_unique<AgentThread>(std::move(target));
  }
  ~RelayTest() override {
    hook_.disconnect();
    agent_.reset();
    intproxy_.reset();
    std::filesystem::remove_all(root_);
  }
  void SetUp() override { start({}); }
  void start(const std::string& settings) {
    intproxy_ = std::make_unique<IntproxyThread>(agent_->take_client(), settings);
    intproxy_->wait_until_ready();
    hook_ = FakeHook(intproxy_->directory(), 1);
  }

  std::string root_;
  std::unique_ptr<AgentThread> agent_;
  std::unique_ptr<IntproxyThread> intproxy_;
  FakeHook hook_;
};

}  // namespace mirrord::test
