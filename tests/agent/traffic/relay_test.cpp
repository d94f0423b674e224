// tests/agent/traffic/relay_test.cpp — connects of a scripted hook through intproxy and agent.
#include <poll.h>

#include "tests/agent/traffic/relay_fixture.h"

namespace mirrord::test {
namespace {

using namespace std::chrono_literals;

TEST_F(RelayTest, EchoesAndTellsTheAgentsAddress) {
  const Server server(SOCK_STREAM);
  const Relayed program = hook_connect(hook_, server.endpoint());
  ASSERT_EQ(program.error, 0);
  EXPECT_EQ(program.reply.state, local::ConnectState::kConnected);
  const Fd peer = server.accept();
  sockaddr_storage from{};
  socklen_t length = sizeof from;
  ::getpeername(peer.get(), reinterpret_cast<sockaddr*>(&from), &length);
  EXPECT_EQ(intproxy::endpoint_of(program.reply.local), net::Endpoint::from_sockaddr(from));
  send_all(program.socket.get(), "question");
  EXPECT_EQ(receive_all(peer.get(), 8), "question");
  send_all(peer.get(), "answer");
  EXPECT_EQ(receive_all(program.socket.get(), 6), "answer");
}

TEST_F(RelayTest, ServerFirstDataIsNotLost) {
  const Server server(SOCK_STREAM, "::1");
  std::thread speaker([&] {
    const Fd peer = server.accept();
    send_all(peer.get(), "220 ready");
    ::shutdown(peer.get(), SHUT_WR);
    EXPECT_EQ(receive_all(peer.get()), "quit");
  });
  const Relayed program = hook_connect(hook_, server.endpoint());
  ASSERT_EQ(program.error, 0);
  EXPECT_EQ(receive_all(program.socket.get()), "220 ready");
  send_all(program.socket.get(), "quit");
  ::shutdown(program.socket.get(), SHUT_WR);
  speaker.join();
}

TEST_F(RelayTest, HalfClosesTravelBothWays) {
  const Server server(SOCK_STREAM);
  const Relayed program = hook_connect(hook_, server.endpoint());
  const Fd peer = server.accept();
  send_all(program.socket.get(), "all I have");
  ::shutdown(program.socket.get(), SHUT_WR);
  EXPECT_EQ(receive_all(peer.get()), "all I have");
  send_all(peer.get(), std::string(3 << 20, 'r'));
  ::shutdown(peer.get(), SHUT_WR);
  EXPECT_EQ(receive_all(program.socket.get()).size(), std::size_t{3} << 20);
}

TEST_F(RelayTest, ABlockingConnectGetsTheAgentsErrno) {
  Server gone(SOCK_STREAM);
  gone.close();
  EXPECT_EQ(hook_connect(hook_, gone.endpoint()).error, ECONNREFUSED);
  // So does one that does not wait, when the answer comes within the grace time.
  EXPECT_EQ(hook_connect(hook_, gone.endpoint(), false).error, ECONNREFUSED);
}

TEST_F(RelayTest, ASlowFailureResetsAConnectThatDidNotWait) {
  const Server server(SOCK_STREAM, "127.0.0.1", 0);
  std::vector<Fd> fillers;
  for (int i = 0; i < 4; ++i) {
    fillers.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_storage storage;
    const socklen_t length = server.endpoint().to_sockaddr(storage);
    ::connect(fillers.back().get(), reinterpret_cast<sockaddr*>(&storage), length);
  }
  const auto begin = std::chrono::steady_clock::now();
  const Relayed program = hook_connect(hook_, server.endpoint(), false);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 1s);
  ASSERT_EQ(program.error, 0);
  EXPECT_EQ(program.reply.state, local::ConnectState::kPending);
  FakeHook second(intproxy_->directory(), 2);
  const Answer outcome =
      second.call(local::MessageType::kConnectOutcome,
                  FakeHook::bytes_of(local::ConnectionRequest{program.reply.connection}));
  const Answer late = outcome.has_come ? Answer{} : second.receive(5000);
  EXPECT_EQ((outcome.has_come ? outcome : late).error, ETIMEDOUT);
  char byte;
  EXPECT_EQ(::recv(program.socket.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST_F(RelayTest, ResetsTravelBothWays) {
  const Server server(SOCK_STREAM);
  const linger now{.l_onoff = 1, .l_linger = 0};
  char byte;
  {
    const Relayed program = hook_connect(hook_, server.endpoint());
    Fd peer = server.accept();
    send_all(peer.get(), "partial");
    EXPECT_EQ(receive_all(program.socket.get(), 7), "partial");
    ::setsockopt(peer.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    peer.reset();
    EXPECT_EQ(::recv(program.socket.get(), &byte, 1, 0), -1);
    EXPECT_EQ(errno, ECONNRESET);
  }
  Relayed program = hook_connect(hook_, server.endpoint());
  const Fd peer = server.accept();
  ::setsockopt(program.socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  program.socket.reset();
  EXPECT_EQ(::recv(peer.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST_F(RelayTest, BytesBeforeAResetAreDelivered) {
  const Server server(SOCK_STREAM);
  const Relayed program = hook_connect(hook_, server.endpoint());
  Fd peer = server.accept();
  constexpr std::size_t kSize = 2 << 20;
  std::thread sender([&] {
    send_all(peer.get(), std::string(kSize, 'd'));
    std::this_thread::sleep_for(300ms);  // the agent has read all of it by now
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(peer.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    peer.reset();
  });
  std::this_thread::sleep_for(600ms);
  std::string block(1 << 16, 0);
  std::size_t got = 0;
  ssize_t count = 0;
  while ((count = ::recv(program.socket.get(), block.data(), block.size(), 0)) > 0)
    got += static_cast<std::size_t>(count);
  EXPECT_EQ(got, kSize);
  EXPECT_EQ(count, -1);
  EXPECT_EQ(errno, ECONNRESET);
  sender.join();
}

TEST_F(RelayTest, DatagramsGoToTheirDestinations) {
  for (const char* address : {"127.0.0.1", "::1"}) {
    const Server server(SOCK_DGRAM, address);
    const Relayed program = hook_connect(hook_, server.endpoint(), false, SOCK_DGRAM);
    ASSERT_EQ(program.error, 0);
    for (const std::size_t size : {std::size_t{1}, std::size_t{1400}, std::size_t{60'000}}) {
      send_all(program.socket.get(), std::string(size, 'u'));
      std::string buffer(65'536, 0);
      sockaddr_storage from{};
      socklen_t length = sizeof from;
      ASSERT_EQ(::recvfrom(server.fd(), buffer.data(), buffer.size(), 0,
                           reinterpret_cast<sockaddr*>(&from), &length),
                static_cast<ssize_t>(size));
      ::sendto(server.fd(), buffer.data(), size, 0, reinterpret_cast<sockaddr*>(&from), length);
      ASSERT_EQ(::recv(program.socket.get(), buffer.data(), buffer.size(), 0),
                static_cast<ssize_t>(size));
    }
  }
}

TEST_F(RelayTest, AnAssociationOutlivesAServerThatWasAway) {
  Server away(SOCK_DGRAM);
  const net::Endpoint endpoint = away.endpoint();
  const Relayed program = hook_connect(hook_, endpoint, false, SOCK_DGRAM);
  away.close();
  send_all(program.socket.get(), "lost");  // refused there: the agent's side ends
  std::this_thread::sleep_for(100ms);
  const Fd server(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage;
  const socklen_t length = endpoint.to_sockaddr(storage);
  ASSERT_EQ(::bind(server.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
  send_all(program.socket.get(), "found");
  char buffer[16];
  EXPECT_EQ(::recv(server.get(), buffer, sizeof buffer, 0), 5);
}

TEST_F(RelayTest, UnixSocketsGetARelayOfTheirKind) {
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET}) {
    const std::string name = type == SOCK_STREAM ? "/stream.sock" : "/packets.sock";
    const Server server(type, root_ + name);
    local::ConnectRequest request{};
    request.transport =
        type == SOCK_STREAM ? local::Transport::kStream : local::Transport::kSeqpacket;
    request.wait = 1;
    request.remote = intproxy::to_local(unix_path(name));
    const Answer answer = hook_.call(local::MessageType::kConnect, request);
    ASSERT_TRUE(answer.has_come);
    ASSERT_EQ(answer.error, 0);
    const auto relay = answer.as<local::ConnectReply>().relay;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, relay.data, relay.length);
    const Fd program(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(program.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const Fd peer = server.accept();
    send_all(program.get(), "one");
    send_all(program.get(), "two");
    EXPECT_EQ(receive_all(peer.get(), 6), "onetwo");
    send_all(peer.get(), "back");
    EXPECT_EQ(receive_all(program.get(), 4), "back");
    ::shutdown(program.get(), SHUT_WR);
    EXPECT_EQ(receive_all(peer.get()), "");
    EXPECT_FALSE(std::filesystem::exists(address.sun_path));
  }
}

TEST_F(RelayTest, TheSessionsOwnListenersStayLocal) {
  const net::Endpoint own{net::IpAddress::v4(127, 0, 0, 1), 4321};
  local::ConnectRequest question{};  // without an own address: only decide
  question.remote = intproxy::to_local(own);
  const auto decision = [&] {
    return hook_.call(local::MessageType::kConnect, question).as<local::ConnectReply>().state;
  };
  EXPECT_EQ(decision(), local::ConnectState::kPending);
  FakeHook server(intproxy_->directory(), 7);
  server.send(local::MessageType::kListening, FakeHook::bytes_of(local::ListeningRequest{4321, 1}));
  EXPECT_TRUE(
      intproxy::test::eventually([&] { return decision() == local::ConnectState::kBypass; }));
  question.remote.port = 4322;
  EXPECT_EQ(decision(), local::ConnectState::kPending);
  question.remote.port = 4321;
  server.send(local::MessageType::kListening, FakeHook::bytes_of(local::ListeningRequest{4321, 0}));
  EXPECT_TRUE(
      intproxy::test::eventually([&] { return decision() == local::ConnectState::kPending; }));
}

TEST_F(RelayTest, BadRequestsAreRefused) {
  local::ConnectRequest request{};
  request.remote.family = 99;
  EXPECT_EQ(hook_.call(local::MessageType::kConnect, request).error, EINVAL);
  request.remote.family = AF_UNIX;
  request.remote.length = 4000;
  EXPECT_EQ(hook_.call(local::MessageType::kConnect, request).error, EINVAL);
  EXPECT_EQ(hook_.call(local::MessageType::kConnect, std::string_view("short")).error, EINVAL);
  EXPECT_EQ(hook_.call(local::MessageType::kConnectOutcome, local::ConnectionRequest{999}).error,
            ENOTCONN);
}

TEST_F(RelayTest, ALostAgentResetsConnectionsAndRefusesNewOnes) {
  const Server server(SOCK_STREAM);
  const Relayed program = hook_connect(hook_, server.endpoint());
  const Fd peer = server.accept();
  agent_.reset();
  char byte;
  EXPECT_EQ(::recv(program.socket.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
  const int error = hook_connect(hook_, server.endpoint()).error;
  EXPECT_TRUE(error == ECONNREFUSED || error == -1) << error;  // -1: the session has ended already
}

}  // namespace
}  // namespace mirrord::test
