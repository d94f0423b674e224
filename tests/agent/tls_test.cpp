// tests/agent/tls_test.cpp — the agent's port with TLS: it lets in whoever has the key of the
// certificate that it was given, and nobody else.
#include "net/tls.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "net/loop.h"
#include "tests/support/wire_client.h"

namespace mirrord::test {
namespace {

net::TlsIdentity make_identity() {
  auto made = net::make_tls_identity("agent.mirrord.test");
  EXPECT_TRUE(made);
  return made ? *made : net::TlsIdentity{};
}

// A client of the wire behind TLS: the server's part of it, on a thread of its own.
class TlsClient {
 public:
  TlsClient(std::uint16_t port, const net::TlsIdentity& identity) {
    auto context = net::TlsContext::make(
        {.role = net::TlsRole::kServer, .certificate = identity.certificate, .key = identity.key});
    EXPECT_TRUE(context);
    pump_ = std::make_unique<net::TlsPump>(loop_, *context, WireClient::connect(port).take(),
                                           "the agent");
    net::TlsPump::Handlers handlers;
    handlers.ready = [this](std::string_view) { is_ready = true; };
    handlers.ended = [this](std::optional<Error>) {
      has_ended = true;
      loop_.stop();
    };
    auto plain = pump_->start(std::move(handlers));
    EXPECT_TRUE(plain);
    client = std::make_unique<WireClient>(std::move(*plain));
    thread_ = std::thread([this] { loop_.run(); });
  }
  ~TlsClient() {
    loop_.post([this] { loop_.stop(); });
    thread_.join();
  }
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  std::atomic<bool> is_ready = false, has_ended = false;
  std::unique_ptr<WireClient> client;

 private:
  net::Loop loop_;
  std::unique_ptr<net::TlsPump> pump_;
  std::thread thread_;
};

class AgentTls : public testing::Test {
 protected:
  net::TlsIdentity identity_ = make_identity();
  ListeningAgent agent_{{"--communication-timeout", "20"},
                        {"targetless"},
                        {{"AGENT_OPERATOR_CERT_ENV", identity_.certificate}}};
};

TEST_F(AgentTls, ServesWhoeverHasTheKey) {
  {
    TlsClient tls(agent_.port, identity_);
    EXPECT_EQ(tls.client->switch_version("1.2.3"), "1.2.3");
    EXPECT_TRUE(tls.is_ready);
    for (int i = 0; i < 100; ++i) {
      tls.client->send(proto::ClientMessage::make<"Ping">());
      const auto answer = tls.client->receive();
      ASSERT_TRUE(answer && answer->is<"Pong">());
    }
    tls.client->send(proto::ClientMessage::make<"Close">());
    EXPECT_TRUE(tls.client->sees_end());
  }
  EXPECT_EQ(agent_.process->wait(), 0);
}

TEST_F(AgentTls, ToleratesStrangersUntilTheClientComes) {
  WireClient plain = agent_.connect();
  plain.send(proto::ClientMessage::make<"Ping">());
  plain.finish_sending();
  EXPECT_TRUE(plain.sees_end());
  {
    TlsClient stranger(agent_.port, make_identity());
    EXPECT_TRUE(stranger.client->sees_end());
    EXPECT_FALSE(stranger.is_ready);
  }
  WireClient silent = agent_.connect();
  {
    TlsClient tls(agent_.port, identity_);
    EXPECT_EQ(tls.client->switch_version("1.2.3"), "1.2.3");
    EXPECT_FALSE(agent_.process->wait(0)) << "the agent lives on";
  }
  EXPECT_EQ(agent_.process->wait(), 0);
  EXPECT_NE(agent_.process->error_text().find("refused a client"), std::string::npos);
}

TEST(AgentTlsStart, RefusesAnythingButACertificate) {
  ChildProcess agent(
      {.command = {mirrord_path(), "agent", "--operator-tls-cert-pem", "nonsense", "targetless"},
       .environment = {},
       .passed = {}});
  EXPECT_EQ(agent.wait(), 2);
  EXPECT_NE(agent.error_text().find("PEM"), std::string::npos);
}

}  // namespace
}  // namespace mirrord::test
