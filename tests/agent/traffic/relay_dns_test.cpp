// tests/agent/traffic/relay_dns_test.cpp — look-ups of a scripted hook, filters with names, old agents.
#include <netdb.h>
#include <unistd.h>

#include "tests/agent/traffic/relay_fixture.h"
#include "tests/support/dns_server.h"

namespace mirrord::test {
namespace {

class RelayDnsTest : public RelayTest {
 protected:
  RelayDnsTest() : server_([](const DnsQuestion& question) { return answer_to(question); }) {
    std::ofstream(root_ + "/etc/resolv.conf")
        << "nameserver " << server_.resolv_conf_server() << "\nsearch ns.example\n";
    std::ofstream(root_ + "/etc/hosts") << "10.9.9.9 db.example db\n";
  }
  static DnsReply answer_to(const DnsQuestion& question) {
    DnsReply reply;
    if (question.name == "web.ns.example")
      reply.addresses = {net::IpAddress::v4(10, 0, 0, 1), *net::IpAddress::parse("fd00::1")};
    else if (question.name == "loop.ns.example")
      reply.addresses = {net::IpAddress::v4(127, 0, 0, 1)};
    else if (question.name.starts_with("broken"))
      reply.code = 2;
    else
      reply.code = 3;
    return reply;
  }

  static std::string resolve(FakeHook& hook, std::string_view name, int family = AF_UNSPEC) {
    local::ResolveRequest request{};
    request.family = family;
    request.port = 80;
    const Answer answer = hook.call(local::MessageType::kResolve, request, name);
    if (!answer.has_come)
      return "<nothing>";
    if (answer.error != 0)
      return "error " + std::to_string(answer.error);
    const auto reply = answer.as<local::ResolveReply>();
    const char* addresses = answer.bytes.data() + sizeof reply;
    const char* names = addresses + reply.count * sizeof(local::ResolvedAddress);
    std::string text;
    for (std::uint32_t i = 0; i < reply.count; ++i) {
      local::ResolvedAddress one;
      std::memcpy(&one, addresses + i * sizeof one, sizeof one);
      text += (i == 0 ? "" : " ") + std::string(names + one.name_offset) + "=" +
              intproxy::endpoint_of(one.address)->to_string();
    }
    return text;
  }

  DnsServer server_;
};

std::string error(int code) {
  return "error " + std::to_string(code);
}

TEST_F(RelayDnsTest, NamesAreThoseOfTheTarget) {
  EXPECT_EQ(resolve(hook_, "web"), "web.ns.example=10.0.0.1:80 web.ns.example=[fd00::1]:80");
  EXPECT_EQ(resolve(hook_, "web", AF_INET6), "web.ns.example=[fd00::1]:80");
  EXPECT_EQ(resolve(hook_, "db", AF_INET), "db.example=10.9.9.9:80");
}

TEST_F(RelayDnsTest, LiteralsAndLocalhostNeedNoAgent) {
  EXPECT_EQ(resolve(hook_, "10.1.2.3"), "10.1.2.3=10.1.2.3:80");
  EXPECT_EQ(resolve(hook_, "10.1.2.3", AF_INET6), error(EAI_NONAME));
  EXPECT_EQ(resolve(hook_, "localhost"), "localhost=127.0.0.1:80 localhost=[::1]:80");
  EXPECT_TRUE(server_.questions().empty());
}

TEST_F(RelayDnsTest, FailuresAreCodesOfGetaddrinfo) {
  EXPECT_EQ(resolve(hook_, "nowhere"), error(EAI_NONAME));
  EXPECT_EQ(resolve(hook_, "broken.example", AF_INET), error(EAI_FAIL));
  EXPECT_EQ(resolve(hook_, ""), error(EAI_NONAME));
  EXPECT_EQ(resolve(hook_, "bad name"), error(EAI_NONAME));
  EXPECT_EQ(resolve(hook_, "web", 99), error(EAI_FAMILY));
  EXPECT_EQ(hook_.call(local::MessageType::kResolve, std::string_view("x")).error, EAI_FAIL);
}

TEST_F(RelayDnsTest, AddressesHaveNames) {
  const auto name_of = [&](const char* address) {
    const Answer answer =
        hook_.call(local::MessageType::kReverseResolve,
                   intproxy::to_local(net::Endpoint{*net::IpAddress::parse(address), 0}));
    return answer.error == 0 ? answer.bytes : error(answer.error);
  };
  EXPECT_EQ(name_of("10.9.9.9"), "db.example");
  EXPECT_EQ(name_of("10.0.0.1"), error(EAI_NONAME));
  resolve(hook_, "web");
  EXPECT_EQ(name_of("10.0.0.1"), "web");  // no PTR record: as it was looked up
}

// ---- filters with names

class FilterTest : public RelayDnsTest {
 protected:
  void SetUp() override {}
  // One rule: `name` with `port`.
  void start_with(const std::string& name, std::uint16_t port, std::uint32_t flags) {
    local::Settings settings{};
    settings.magic = local::kSettingsMagic;
    settings.version = local::kVersion;
    settings.flags = flags | local::kFilterNeedsNames | local::kDnsEnabled;
    settings.connect_grace_ms = 50;
    local::FilterRule rule{};
    rule.kind = local::FilterKind::kName;
    rule.port = port;
    settings.outgoing_filter = {sizeof settings, sizeof rule};
    settings.filter_names = {sizeof settings + sizeof rule,
                             static_cast<std::uint32_t>(name.size() + 1)};
    settings.size = settings.filter_names.offset + settings.filter_names.size;
    start(FakeHook::bytes_of(settings) + FakeHook::bytes_of(rule) + name + '\0');
  }
  local::ConnectState decide(const net::Endpoint& remote) {
    local::ConnectRequest question{};
    question.remote = intproxy::to_local(remote);
    return hook_.call(local::MessageType::kConnect, question).as<local::ConnectReply>().state;
  }
};

TEST_F(FilterTest, ARemoteListAsksTheTargetForItsNames) {
  start_with("web", 0, local::kOutgoingFilterRemote);
  EXPECT_EQ(decide({net::IpAddress::v4(10, 0, 0, 1), 80}), local::ConnectState::kPending);
  EXPECT_EQ(decide({*net::IpAddress::parse("fd00::1"), 80}), local::ConnectState::kPending);
  EXPECT_EQ(decide({net::IpAddress::v4(10, 0, 0, 2), 80}), local::ConnectState::kBypass);
  EXPECT_EQ(server_.questions().size(), 2u);  // A and AAAA, once
}

TEST_F(FilterTest, ALocalListAsksThisMachine) {
  start_with("localhost", 5432, 0);
  EXPECT_EQ(decide({net::IpAddress::v4(127, 0, 0, 1), 5432}), local::ConnectState::kBypass);
  EXPECT_EQ(decide({net::IpAddress::v4(127, 0, 0, 1), 5433}), local::ConnectState::kPending);
  EXPECT_EQ(decide({net::IpAddress::v4(10, 0, 0, 1), 5432}), local::ConnectState::kPending);
}

TEST_F(FilterTest, AFullRequestIsDecidedToo) {
  start_with("web", 0, local::kOutgoingFilterRemote);
  const Server server(SOCK_STREAM);
  const Relayed local_one = hook_connect(hook_, server.endpoint());
  EXPECT_EQ(local_one.error, 0);
  EXPECT_EQ(local_one.reply.state, local::ConnectState::kBypass);
}

// ---- an agent of an old version, played by the test

class OldAgentTest : public ::testing::Test {
 protected:
  OldAgentTest() {
    auto [intproxy_end, agent_end] = tcp_pair();
    socket_ = std::move(agent_end);
    intproxy_ = std::make_unique<IntproxyThread>(std::move(intproxy_end));
    auto hello = receive();
    EXPECT_TRUE(hello && hello->is<"SwitchProtocolVersion">());
    send(DaemonMessage::make<"SwitchProtocolVersionResponse">(*proto::SemVer::parse("1.14.0")));
    intproxy_->wait_until_ready();
    hook_ = FakeHook(intproxy_->directory(), 1);
  }
  ~OldAgentTest() override {
    hook_.disconnect();
    socket_.reset();
    intproxy_.reset();
  }
  std::optional<ClientMessage> receive() {
    while (true) {
      auto message = decoder_.next();
      if (!message)
        return std::nullopt;
      if (*message) {
        if ((*message)->is<"ReadyForLogs">())
          continue;
        return std::move(**message);
      }
      const auto space = decoder_.writable();
      const ssize_t count = ::recv(socket_.get(), space.data(), space.size(), 0);
      if (count <= 0)
        return std::nullopt;
      decoder_.commit(static_cast<std::size_t>(count));
    }
  }
  void send(const DaemonMessage& message) {
    proto::Bytes bytes;
    ASSERT_TRUE(proto::encode(message, bytes));
    send_all(socket_.get(), bytes.text());
  }

  Fd socket_;
  proto::ClientStreamDecoder decoder_;
  std::unique_ptr<IntproxyThread> intproxy_;
  FakeHook hook_;
};

TEST_F(OldAgentTest, IsAskedWithTheOldMessages) {
  local::ResolveRequest request{};
  hook_.send(local::MessageType::kResolve, FakeHook::bytes_of(request) + "web");
  auto question = receive();
  ASSERT_TRUE(question && question->is<"GetAddrInfoRequest">());
  proto::DnsLookup records{{"web.", proto::Ip::v4(10, 0, 0, 1)}};
  send(DaemonMessage::make<"GetAddrInfoResponse">(std::move(records)));
  EXPECT_EQ(hook_.receive().as<local::ResolveReply>().count, 1u);

  std::thread program([&] {
    const Relayed relayed = hook_connect(hook_, {net::IpAddress::v4(10, 0, 0, 1), 80});
    EXPECT_EQ(relayed.error, 0);
    send_all(relayed.socket.get(), "old");
    EXPECT_EQ(receive_all(relayed.socket.get()), "but sound");
  });
  auto connect = receive();
  ASSERT_TRUE(connect && connect->is<"TcpOutgoing">());
  const auto* legacy = connect->get<"TcpOutgoing">().get_if<"Connect">();
  ASSERT_NE(legacy, nullptr);
  const auto own = Server::to_wire({net::IpAddress::v4(10, 0, 0, 9), 4000});
  send(DaemonMessage::make<"TcpOutgoing">(proto::DaemonTcpOutgoing::make<"Connect">(
      proto::DaemonConnect{7, legacy->remote_address, own})));
  auto write = receive();
  ASSERT_TRUE(write && write->is<"TcpOutgoing">());
  EXPECT_EQ(write->get<"TcpOutgoing">().get<"Write">().connection_id, 7u);
  EXPECT_EQ(write->get<"TcpOutgoing">().get<"Write">().bytes.text(), "old");
  for (const char* text : {"but sound", ""}) {
    send(DaemonMessage::make<"TcpOutgoing">(proto::DaemonTcpOutgoing::make<"Read">(
        proto::DaemonRead{7, proto::Bytes(std::string_view(text))})));
  }
  program.join();
}

// An agent that knows no pauses sends on while a program does not read: that is kept up to a
// ceiling, then the agent is not read from, and in the end every byte arrives.
TEST_F(OldAgentTest, AProgramThatStopsReadingLosesNothing) {
  Relayed relayed;
  std::thread connecting([&] {
    relayed = hook_connect(hook_, {net::IpAddress::v4(10, 0, 0, 1), 80});
  });
  auto connect = receive();
  const auto own = Server::to_wire({net::IpAddress::v4(10, 0, 0, 9), 4000});
  send(DaemonMessage::make<"TcpOutgoing">(
      proto::DaemonTcpOutgoing::make<"Connect">(proto::DaemonConnect{0, own, own})));
  connecting.join();
  constexpr std::size_t kBlock = 1 << 20, kCount = 160;
  std::thread agent([&] {
    for (std::size_t i = 0; i < kCount; ++i) {
      send(DaemonMessage::make<"TcpOutgoing">(
          proto::DaemonTcpOutgoing::make<"Read">(proto::DaemonRead{
              0, proto::Bytes(std::string(kBlock, static_cast<char>('a' + i % 26)))})));
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(400));
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < kCount; ++i) {
    wrong += receive_all(relayed.socket.get(), kBlock) !=
             std::string(kBlock, static_cast<char>('a' + i % 26));
  }
  EXPECT_EQ(wrong, 0u);
  agent.join();
}

}  // namespace
}  // namespace mirrord::test
