// tests/unit/intproxy/tls_connector_test.cpp — TLS on streams that come from elsewhere, again and again.
#include "applets/intproxy/tls_connector.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/tls.h"

namespace mirrord::intproxy::test {
namespace {

using std::chrono::milliseconds;

// Gives one end of a new socket pair each time, and keeps the other.
class PairConnector final : public AgentConnector {
 public:
  explicit PairConnector(net::Loop& loop) : loop_(loop) {}
  void reopen(milliseconds, Done done) override {
    std::array<int, 2> ends{-1, -1};
    ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data());
    far = Fd(ends[1]);
    loop_.defer([this, done = std::move(done), near = Fd(ends[0])]() mutable {
      if (on_open) {
        on_open();
      }
      done(ReopenedStream{std::move(near), "the agent in a test", "moved"});
    });
  }
  void accepted() override { ++accepts; }

  Fd far;
  std::function<void()> on_open;
  int accepts = 0;

 private:
  net::Loop& loop_;
};

class TlsConnectorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto inner = std::make_unique<PairConnector>(loop_);
    inner_ = inner.get();
    auto made = make_tls_connector(loop_, std::move(inner), identity_);
    ASSERT_TRUE(made);
    connector_ = std::move(*made);
  }

  // An agent that trusts `certificate` comes to the far end of the next stream.
  void expect_agent(const std::string& certificate) {
    inner_->on_open = [this, certificate] {
      auto context = net::TlsContext::make(
          {.role = net::TlsRole::kClient, .trusted = certificate, .peer_name = "session.test"});
      ASSERT_TRUE(context);
      agent_ =
          std::make_unique<net::TlsPump>(loop_, *context, std::move(inner_->far), "the session");
      auto plain = agent_->start({});
      ASSERT_TRUE(plain);
      agent_end_ = std::move(*plain);
    };
  }

  Result<ReopenedStream> reopen() {
    std::optional<Result<ReopenedStream>> outcome;
    connector_->reopen(std::chrono::seconds(10), [&](Result<ReopenedStream> stream) {
      outcome = std::move(stream);
      loop_.stop();
    });
    EXPECT_FALSE(outcome) << "never from inside";
    while (!outcome) {
      loop_.run();
    }
    return std::move(*outcome);
  }

  std::string read_from(int fd) {
    std::array<char, 100> text{};
    for (int i = 0; i < 1000; ++i) {
      const ssize_t count = ::recv(fd, text.data(), text.size(), MSG_DONTWAIT);
      if (count >= 0) {
        return {text.data(), static_cast<std::size_t>(count)};
      }
      net::Timer pause(loop_);
      pause.start(milliseconds(5), [this] { loop_.stop(); });
      loop_.run();
    }
    return "nothing came";
  }

  net::Loop loop_;
  net::TlsIdentity identity_ = *net::make_tls_identity("session.test");
  PairConnector* inner_ = nullptr;
  std::unique_ptr<AgentConnector> connector_;
  std::unique_ptr<net::TlsPump> agent_;
  Fd agent_end_;
};

TEST_F(TlsConnectorTest, GivesPlainStreamsTimeAndAgain) {
  for (int round = 0; round < 2; ++round) {
    expect_agent(identity_.certificate);
    auto stream = reopen();
    ASSERT_TRUE(stream) << stream.error().what;
    EXPECT_EQ(stream->peer_name, "the agent in a test");
    EXPECT_EQ(stream->notice, "moved");
    connector_->accepted();
    ASSERT_EQ(::send(stream->socket.get(), "ping", 4, 0), 4);
    EXPECT_EQ(read_from(agent_end_.get()), "ping");
    ASSERT_EQ(::send(agent_end_.get(), "pong", 4, 0), 4);
    EXPECT_EQ(read_from(stream->socket.get()), "pong");
  }
  EXPECT_EQ(inner_->accepts, 2);
}

TEST_F(TlsConnectorTest, RefusesAnAgentThatWantsAnother) {
  expect_agent(net::make_tls_identity("session.test")->certificate);
  const auto stream = reopen();
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().code, ErrorCode::kDisconnected) << "not final";
  EXPECT_FALSE(stream.error().hint.empty());
}

TEST_F(TlsConnectorTest, LetsTheLastBytesLeave) {
  expect_agent(identity_.certificate);
  auto stream = reopen();
  ASSERT_TRUE(stream);
  ASSERT_EQ(::send(stream->socket.get(), "goodbye", 7, 0), 7);
  stream->socket.reset();
  connector_->finish(std::chrono::seconds(10));
  connector_.reset();
  EXPECT_EQ(read_from(agent_end_.get()), "goodbye");
  EXPECT_EQ(read_from(agent_end_.get()), "");
}

}  // namespace
}  // namespace mirrord::intproxy::test
