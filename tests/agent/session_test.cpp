// tests/agent/session_test.cpp — clients, versions, environment, and how an agent ends.
#include <signal.h>

#include <chrono>
#include <thread>

#include "proto/random.h"
#include "proto/version.h"
#include "tests/agent/fixture.h"

namespace mirrord::test {
namespace {

using proto::ClientMessage;
using Clock = std::chrono::steady_clock;

class Sessions : public AgentTest {
 protected:
  void SetUp() override {
    using namespace std::string_literals;
    variables_ = {{"APP_MODE", "test"},
                  {"APP_SECRET", "s3cret"},
                  {"PATH", "/bin"},
                  {"BAD", "\xff\xfe"},
                  {"EMPTY", ""}};
    AgentTest::SetUp();
  }
  std::map<std::string, std::string> environment(proto::Set<std::string> filter,
                                                 proto::Set<std::string> select) {
    client_->send(ClientMessage::make<"GetEnvVarsRequest">(std::move(filter), std::move(select)));
    const auto message = client_->receive();
    std::map<std::string, std::string> result;
    if (!message || !message->is<"GetEnvVarsResponse">())
      return {{"no", "answer"}};
    for (const auto& [name, value] : *message->get<"GetEnvVarsResponse">())
      result[name] = value;
    return result;
  }
  std::string close_reason(WireClient& client) {
    const auto message = client.receive();
    return message && message->is<"Close">() ? message->get<"Close">() : "";
  }
};

TEST_F(Sessions, PingsAreAnswered) {
  for (int i = 0; i < 3; ++i) {
    client_->send(ClientMessage::make<"Ping">());
    EXPECT_TRUE(client_->receive()->is<"Pong">());
  }
}

TEST_F(Sessions, TheLowerVersionIsSettled) {
  EXPECT_EQ(client_->switch_version("1.3.0"), "1.3.0");
  EXPECT_EQ(client_->switch_version("2.0.0"), "1.29.0");
  EXPECT_EQ(client_->switch_version("1.29.0"), "1.29.0");
}

TEST_F(Sessions, TheEnvironmentIsTheTargets) {
  EXPECT_EQ(environment({}, {"*"}),
            (std::map<std::string, std::string>{
                {"APP_MODE", "test"}, {"APP_SECRET", "s3cret"}, {"EMPTY", ""}}));
  EXPECT_EQ(environment({"*SECRET"}, {"APP_*", "PATH"}),
            (std::map<std::string, std::string>{{"APP_MODE", "test"}}));
  EXPECT_EQ(environment({}, {}).size(), 3u);
}

TEST_F(Sessions, WhatIsNoLongerOrNotYetSupportedIsRefusedAndTheSessionGoesOn) {
  client_->send(ClientMessage::make<"PauseTargetRequest">(true));
  EXPECT_EQ(close_reason(*client_), "Pause isn't supported anymore.");
  client_->send(ClientMessage::make<"Vpn">(proto::ClientVpn::make<"OpenSocket">()));
  EXPECT_EQ(close_reason(*client_), "VPN is not supported");
  client_->send(ClientMessage::make<"OperatorPong">(proto::u128{7}));
  client_->send(ClientMessage::make<"ReadyForLogs">());
  client_->send(ClientMessage::make<"Ping">());
  EXPECT_TRUE(client_->receive()->is<"Pong">());
}

TEST_F(Sessions, ACloseEndsTheSessionAndWithItTheAgent) {
  client_->send(ClientMessage::make<"Close">());
  EXPECT_TRUE(client_->sees_end());
  EXPECT_EQ(agent_->process->wait(), 0);
  EXPECT_EQ(agent_->process->read_rest(), "") << "one line on standard output, no more";
}

TEST_F(Sessions, ALostConnectionEndsTheAgent) {
  client_->close();
  EXPECT_EQ(agent_->process->wait(2000), 0);
}

TEST_F(Sessions, WritesOfAClientThatDoesNotWaitAreCarriedOut) {
  const std::string block(65536, 'w');
  const auto fd = open("/last", kCreate)->fd;
  constexpr int kBlocks = 200;
  for (int i = 0; i < kBlocks; ++i)
    client_->send_file(
        FileRequest::make<"Write">(proto::WriteFileRequest{fd, proto::Payload(block)}));
  client_->finish_sending();
  for (int i = 0; i < kBlocks; ++i)
    ASSERT_EQ(client_->receive_file<"Write">()->written_amount, block.size());
  EXPECT_TRUE(client_->sees_end());
  EXPECT_EQ(agent_->process->wait(), 0);
  EXPECT_EQ(fs::file_size(root("/last")), kBlocks * block.size());
}

TEST_F(Sessions, WritesOfAClientThatVanishesAreCarriedOut) {
  const std::string block(65536, 'w');
  const auto fd = open("/last", kCreate)->fd;
  constexpr int kBlocks = 60;
  for (int i = 0; i < kBlocks; ++i)
    client_->send_file(
        FileRequest::make<"Write">(proto::WriteFileRequest{fd, proto::Payload(block)}));
  client_->close();  // with answers unread
  EXPECT_EQ(agent_->process->wait(), 0);
  EXPECT_EQ(fs::file_size(root("/last")), kBlocks * block.size());
}

TEST_F(Sessions, WritesBeforeACloseAreCarriedOut) {
  const auto fd = open("/last", kCreate)->fd;
  client_->send_file(FileRequest::make<"Write">(
      proto::WriteFileRequest{fd, proto::Payload(std::string_view("last words"))}));
  client_->send(ClientMessage::make<"Close">());
  client_->close();
  EXPECT_EQ(agent_->process->wait(), 0);
  EXPECT_EQ(read_file(root("/last")), "last words");
}

TEST_F(Sessions, ACorruptStreamIsAnsweredWithAReason) {
  client_->send_bytes("\xff");
  EXPECT_NE(close_reason(*client_).find("no message of the protocol"), std::string::npos);
  EXPECT_TRUE(client_->sees_end());
  EXPECT_EQ(agent_->process->wait(), 0);
}

TEST_F(Sessions, AMessageCutByTheEndOfTheStreamEndsTheSession) {
  client_->send_bytes(std::string_view("\x05\x00\x05/he", 6));
  client_->finish_sending();
  EXPECT_TRUE(client_->sees_end());
  EXPECT_EQ(agent_->process->wait(), 0);
}

TEST_F(Sessions, HugeAnnouncedLengthsAllocateNothing) {
  // Write of 2^40 bytes, of which none follow.
  client_->send_bytes(std::string_view("\x05\x05\x00\xfd\x00\x00\x00\x00\x00\x01\x00\x00", 12));
  EXPECT_NE(close_reason(*client_), "");
  EXPECT_TRUE(client_->sees_end());
}

TEST_F(Sessions, BytesMayArriveOneByOne) {
  const std::string_view open("\x05\x00\x06/hello\x01\x00\x00\x00\x00\x00", 15);
  write_file(root("/hello"), "hello");
  for (const char byte : open) {
    client_->send_bytes({&byte, 1});
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(client_->receive_file<"Open">()->fd, 0u);
}

TEST_F(Sessions, TheEndOfTheTargetEndsTheSessionWithAReason) {
  const auto start = Clock::now();
  target_->end();
  EXPECT_NE(close_reason(*client_).find("process " + std::to_string(target_->pid()) + " has ended"),
            std::string::npos);
  client_->close();
  EXPECT_EQ(agent_->process->wait(), 0);
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(1));
}

TEST_F(Sessions, AClientThatIgnoresTheEndOfTheTargetDoesNotKeepTheAgent) {
  target_->end();
  EXPECT_NE(close_reason(*client_), "");
  EXPECT_EQ(agent_->process->wait(4000), 0);
}

TEST_F(Sessions, TheAgentKeepsNoPrivilegeItDoesNotNeed) {
  const std::string status =
      read_file("/proc/" + std::to_string(agent_->process->pid()) + "/status");
  const std::string wanted = "CapEff:\t";
  const auto effective =
      std::stoull(status.substr(status.find(wanted) + wanted.size(), 16), nullptr, 16);
  constexpr std::uint64_t kFileCapabilities = 0x0008'001f;  // chown … fsetid, ptrace
  EXPECT_EQ(effective & ~kFileCapabilities, 0u);
  EXPECT_NE(status.find("NoNewPrivs:\t1"), std::string::npos);
}

TEST_F(Sessions, AnIdleAgentIsSmall) {
  if (!kMemoryIsTelling)
    GTEST_SKIP() << "sizes say nothing under a sanitizer";
  const std::string status =
      read_file("/proc/" + std::to_string(agent_->process->pid()) + "/status");
  EXPECT_LT(std::atol(status.c_str() + status.find("VmRSS:") + 6), 8 * 1024);
}

// ---- agents that listen

class Listening : public Sessions {};

TEST_F(Listening, ServesSeveralClientsWithSeparateDescriptors) {
  write_file(root("/a"), "aaa");
  write_file(root("/b"), "bbb");
  ListeningAgent agent({}, {"process", "--pid", std::to_string(target_->pid())});
  WireClient one = agent.connect();
  WireClient two = agent.connect();
  const auto open_in = [&](WireClient& client, const char* path) {
    return client.file<"Open">(FileRequest::make<"Open">(proto::OpenFileRequest{path, kRead}));
  };
  const auto read_in = [&](WireClient& client) {
    return std::string(
        client.file<"Read">(FileRequest::make<"Read">(proto::ReadFileRequest{0, 10}))
            ->bytes.text());
  };
  EXPECT_EQ(open_in(one, "/a")->fd, 0u);
  EXPECT_EQ(open_in(two, "/b")->fd, 0u);
  EXPECT_EQ(read_in(one), "aaa");
  EXPECT_EQ(read_in(two), "bbb");

  two.send_bytes("\xff");  // what goes wrong in one session stays there
  EXPECT_TRUE(two.sees_end());
  one.send(ClientMessage::make<"Ping">());
  EXPECT_TRUE(one.receive()->is<"Pong">());
  one.close();
  EXPECT_EQ(agent.process->wait(), 0) << "the last client has left";
}

TEST_F(Listening, RandomMessagesHarmNobodyElse) {
  ListeningAgent agent({}, {"process", "--pid", std::to_string(target_->pid())});
  WireClient steady = agent.connect();
  proto::Random random(20261124);
  constexpr int kRounds = 40;
  constexpr int kMessages = 300;
  for (int round = 0; round < kRounds; ++round) {
    WireClient wild = agent.connect();
    for (int i = 0; i < kMessages; ++i) {
      const ClientMessage message = random.client_message();
      if (!message.is<"Close">())
        wild.send(message);
    }
    if (round % 2 == 0)
      wild.finish_sending();
    steady.send(ClientMessage::make<"Ping">());
    const auto answer = steady.receive();
    ASSERT_TRUE(answer && answer->is<"Pong">()) << "round " << round;
  }
  steady.close();
  EXPECT_EQ(agent.process->wait(20'000), 0);
}

TEST_F(Listening, RandomBytesHarmNobodyElse) {
  ListeningAgent agent({}, {"process", "--pid", std::to_string(target_->pid())});
  WireClient steady = agent.connect();
  proto::Random random(7);
  for (int round = 0; round < 200; ++round) {
    WireClient wild = agent.connect();
    std::string bytes(200, '\0');
    for (char& byte : bytes)
      byte = static_cast<char>(random.below(round % 2 == 0 ? 256 : 12));
    wild.send_bytes(bytes);
  }
  steady.send(ClientMessage::make<"Ping">());
  const auto answer = steady.receive();
  EXPECT_TRUE(answer && answer->is<"Pong">());
  steady.close();
  EXPECT_EQ(agent.process->wait(20'000), 0);
}

TEST_F(Listening, WaitsForTheFirstClientOnlySoLong) {
  ListeningAgent agent({"-t", "1"}, {"process", "--pid", std::to_string(target_->pid())});
  EXPECT_EQ(agent.process->wait(5000), 1);
  EXPECT_NE(agent.process->error_text().find("no client came within 1 seconds"), std::string::npos);
}

TEST_F(Listening, StaysForTheIdleTimeWithoutClients) {
  ListeningAgent agent({}, {"process", "--pid", std::to_string(target_->pid())},
                       {{"MIRRORD_AGENT_IDLE_TTL", "1"}});
  agent.connect().send(ClientMessage::make<"Ping">());
  EXPECT_EQ(agent.process->wait(300), std::nullopt);
  WireClient late = agent.connect();
  late.send(ClientMessage::make<"Ping">());
  EXPECT_TRUE(late.receive()->is<"Pong">());
  EXPECT_EQ(agent.process->wait(1500), std::nullopt) << "a client is there";
  late.close();
  EXPECT_EQ(agent.process->wait(3000), 0);
}

// A WireClient that has told the agent its version, and with it its key.
WireClient introduce(WireClient client, std::string_view key) {
  client.send(ClientMessage::make<"SwitchProtocolVersion">(proto::client_version(key)));
  EXPECT_TRUE(client.receive()->is<"SwitchProtocolVersionResponse">());
  return client;
}

TEST_F(Listening, WaitsForAClientWhoseConnectionBroke) {
  ListeningAgent agent({}, {"process", "--pid", std::to_string(target_->pid())},
                       {{"MIRRORD_AGENT_RECONNECT_TTL", "60"}});
  introduce(agent.connect(), "one").close();
  introduce(agent.connect(), "two").send(ClientMessage::make<"Close">());
  EXPECT_EQ(agent.process->wait(500), std::nullopt) << "one is missing";
  introduce(agent.connect(), "one").send(ClientMessage::make<"Close">());
  EXPECT_EQ(agent.process->wait(), 0) << "it was back, and has said goodbye";
}

TEST_F(Listening, AClientThatComesBackBeforeItsBreakIsSeenLeavesNothingBehind) {
  ListeningAgent agent({}, {"process", "--pid", std::to_string(target_->pid())},
                       {{"MIRRORD_AGENT_RECONNECT_TTL", "60"}});
  WireClient old = introduce(agent.connect(), "key");
  WireClient other = introduce(agent.connect(), "other");
  WireClient back = introduce(agent.connect(), "key");
  EXPECT_TRUE(old.sees_end());
  other.send(ClientMessage::make<"Ping">());
  EXPECT_TRUE(other.receive()->is<"Pong">());
  other.send(ClientMessage::make<"Close">());
  back.send(ClientMessage::make<"Close">());
  EXPECT_EQ(agent.process->wait(), 0);
}

TEST_F(Listening, LeavesWithoutClientsWhenTheTargetEnds) {
  ListeningAgent agent({"-t", "60"}, {"process", "--pid", std::to_string(target_->pid())});
  target_->end();
  EXPECT_EQ(agent.process->wait(2000), 0);
}

TEST_F(Listening, EndsOrderlyOnSigterm) {
  ListeningAgent agent({}, {"process", "--pid", std::to_string(target_->pid())});
  WireClient client = agent.connect();
  client.send(ClientMessage::make<"Ping">());
  EXPECT_TRUE(client.receive()->is<"Pong">());
  agent.process->signal(SIGTERM);
  EXPECT_EQ(close_reason(client), "the agent has been stopped");
  client.close();
  EXPECT_EQ(agent.process->wait(), 0);
}

TEST_F(Listening, FailsOnPurposeWhenToldTo) {
  ListeningAgent agent({"--test-error"}, {"process", "--pid", std::to_string(target_->pid())});
  agent.connect();
  EXPECT_EQ(agent.process->wait(), 1);
}

TEST_F(Listening, ListensInItsOwnNetworkAndWorksInTheTargets) {
  // The port above is one of this machine; the target has a network namespace of its own.
  const auto network_of = [](pid_t pid) {
    return fs::read_symlink("/proc/" + std::to_string(pid) + "/ns/net").string();
  };
  ListeningAgent agent({}, {"process", "--pid", std::to_string(target_->pid())});
  EXPECT_EQ(network_of(agent.process->pid()), network_of(target_->pid()));
  EXPECT_NE(network_of(agent.process->pid()), network_of(::getpid()));
  WireClient client = agent.connect();
  client.send(ClientMessage::make<"Ping">());
  EXPECT_TRUE(client.receive()->is<"Pong">());
}

// ---- agents that cannot start

struct Failure {
  std::optional<int> status;
  std::string text;
};

Failure run_agent(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {mirrord_path(), "agent"});
  ChildProcess process({std::move(arguments), {}, {}});
  const auto status = process.wait();
  return {status, process.error_text()};
}

TEST(AgentStart, ADeadProcessIsNamed) {
  const Failure failure = run_agent({"-l", "0", "process", "--pid", "4194303"});
  EXPECT_EQ(failure.status, 1);
  EXPECT_NE(failure.text.find("process 4194303 does not run"), std::string::npos) << failure.text;
}

TEST(AgentStart, AKernelThreadIsNoTarget) {
  if (read_file("/proc/2/comm") != "kthreadd\n")
    GTEST_SKIP() << "no kernel threads in this PID namespace";
  const Failure failure = run_agent({"-l", "0", "process", "--pid", "2"});
  EXPECT_EQ(failure.status, 1);
  EXPECT_NE(failure.text.find("process 2"), std::string::npos) << failure.text;
}

TEST(AgentStart, AWrongCommandLineExitsWithTwo) {
  EXPECT_EQ(run_agent({"--nonsense"}).status, 2);
  EXPECT_EQ(run_agent({}).status, 2);
  EXPECT_EQ(run_agent({"--stream-fd", "0", "targetless"}).status, 2) << "no socket";
}

TEST(AgentStart, APortInUseIsNamed) {
  ListeningAgent first({}, {"targetless"});
  const Failure failure = run_agent({"-l", std::to_string(first.port), "targetless"});
  EXPECT_EQ(failure.status, 1);
  EXPECT_NE(failure.text.find(std::to_string(first.port)), std::string::npos) << failure.text;
}

TEST(AgentStart, ATargetlessAgentLendsOutItsOwnSurroundings) {
  PrivateAgent agent({"targetless"}, {{"OWN", "value"}});
  agent.client.send(ClientMessage::make<"GetEnvVarsRequest">(proto::Set<std::string>{},
                                                             proto::Set<std::string>{}));
  const auto message = agent.client.receive();
  ASSERT_TRUE(message && message->is<"GetEnvVarsResponse">());
  const auto& variables = *message->get<"GetEnvVarsResponse">();
  ASSERT_EQ(variables.size(), 1u);
  EXPECT_EQ(variables[0].first, "OWN");
}

}  // namespace
}  // namespace mirrord::test
