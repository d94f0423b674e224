// tests/agent/traffic/outgoing_test.cpp — outgoing connections: kinds, addresses, ends, errors.
#include <poll.h>

#include <cerrno>

#include "proto/errors.h"
#include "tests/agent/traffic/fixture.h"

namespace mirrord::test {
namespace {

class OutgoingTest : public TrafficTest {
 protected:
  static int errno_of(const proto::Res<proto::DaemonConnect>& reply) {
    return reply ? 0 : proto::to_errno(reply.error());
  }
};

TEST_F(OutgoingTest, EchoesOverTcpAndNamesBothAddresses) {
  const Server server(SOCK_STREAM);
  const auto connected = connect(server.address());
  ASSERT_TRUE(connected.has_value());
  const Fd peer = server.accept();
  sockaddr_storage from{};
  socklen_t length = sizeof from;
  ::getpeername(peer.get(), reinterpret_cast<sockaddr*>(&from), &length);
  EXPECT_EQ(connected->connection_id, 0u);
  EXPECT_EQ(connected->remote_address, server.address());
  EXPECT_EQ(connected->local_address, Server::to_wire(*net::Endpoint::from_sockaddr(from)));

  write(0, "hello");
  EXPECT_EQ(receive_all(peer.get(), 5), "hello");
  send_all(peer.get(), "world");
  EXPECT_EQ(read(0, 5), "world");
}

TEST_F(OutgoingTest, ReachesIpv6) {
  const Server server(SOCK_STREAM, "::1");
  ASSERT_TRUE(connect(server.address()).has_value());
  const Fd peer = server.accept();
  write(0, "six");
  EXPECT_EQ(receive_all(peer.get(), 3), "six");
}

TEST_F(OutgoingTest, TheClientsEndLeavesTheOtherDirectionOpen) {
  const Server server(SOCK_STREAM);
  const auto id = connect(server.address()).value().connection_id;
  Fd peer = server.accept();
  write(id, "question");
  finish(id);
  EXPECT_EQ(receive_all(peer.get()), "question");
  send_all(peer.get(), "answer");
  EXPECT_EQ(read(id, 6), "answer");
  peer.reset();
  EXPECT_EQ(next(id), "<end>");
  EXPECT_EQ(next(id), "<close>");
}

TEST_F(OutgoingTest, ThePeersEndLeavesTheOtherDirectionOpen) {
  const Server server(SOCK_STREAM);
  const auto id = connect(server.address()).value().connection_id;
  const Fd peer = server.accept();
  send_all(peer.get(), "greeting");
  ::shutdown(peer.get(), SHUT_WR);
  EXPECT_EQ(read(id, 8), "greeting");
  EXPECT_EQ(next(id), "<end>");
  write(id, "late");
  EXPECT_EQ(receive_all(peer.get(), 4), "late");
  finish(id);
  EXPECT_EQ(receive_all(peer.get()), "");
  EXPECT_EQ(next(id), "<close>");
}

TEST_F(OutgoingTest, AResetClosesWithoutAnEnd) {
  const Server server(SOCK_STREAM);
  const auto id = connect(server.address()).value().connection_id;
  Fd peer = server.accept();
  send_all(peer.get(), "last");
  EXPECT_EQ(read(id, 4), "last");
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(peer.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  peer.reset();
  EXPECT_EQ(next(id), "<close>");
}

TEST_F(OutgoingTest, ACloseSendsWhatWasWrittenBefore) {
  const Server server(SOCK_STREAM);
  const auto id = connect(server.address()).value().connection_id;
  const Fd peer = server.accept();
  const std::string data(8 << 20, 'x');  // more than socket buffers take
  write(id, data);
  close(id);
  EXPECT_EQ(receive_all(peer.get()).size(), data.size());
  EXPECT_EQ(next(id, std::chrono::milliseconds(100)), "<nothing>");
}

TEST_F(OutgoingTest, UnknownConnectionsAreIgnored) {
  write(77, "to nobody");
  finish(77);
  close(77);
  client_->send(ClientMessage::make<"UdpOutgoing">(proto::LayerUdpOutgoing::make<"Close">(5u)));
  client_->send(ClientMessage::make<"SeqpacketOutgoing">(proto::LayerSeqpacket::make<"Close">(5u)));
  EXPECT_TRUE(ping());
}

TEST_F(OutgoingTest, RefusalsCarryTheErrno) {
  Server gone(SOCK_STREAM);
  gone.close();
  EXPECT_EQ(errno_of(connect(gone.address())), ECONNREFUSED);
  EXPECT_EQ(errno_of(connect(unix_path("/nowhere.sock"))), ENOENT);
  std::filesystem::create_directory(root_ + "/file.sock");
  EXPECT_EQ(errno_of(connect(unix_path("/file.sock"))), ECONNREFUSED);
}

TEST_F(OutgoingTest, AddressesOfTheWrongKindAreRefused) {
  using proto::UnixAddr;
  const auto unnamed = proto::SocketAddress::make<"Unix">(UnixAddr::make<"Unnamed">());
  const auto too_long = proto::SocketAddress::make<"Unix">(
      UnixAddr::make<"Abstract">(proto::Bytes(std::string(200, 'a'))));
  EXPECT_FALSE(connect(unnamed).has_value());
  EXPECT_EQ(errno_of(connect(too_long)), EINVAL);
  const Server server(SOCK_STREAM);
  client_->send(ClientMessage::make<"SeqpacketOutgoing">(
      proto::LayerSeqpacket::make<"ConnectV2">(uid(1), server.address())));
  client_->send(ClientMessage::make<"UdpOutgoing">(
      proto::LayerUdpOutgoing::make<"ConnectV2">(uid(2), unix_path("/a"))));
  const auto seqpacket = client_->receive();
  ASSERT_TRUE(seqpacket && seqpacket->is<"SeqpacketOutgoing">());
  EXPECT_FALSE(seqpacket->get<"SeqpacketOutgoing">().get<"ConnectV2">().connect.has_value());
  const auto udp = client_->receive();
  ASSERT_TRUE(udp && udp->is<"UdpOutgoing">());
  EXPECT_FALSE(udp->get<"UdpOutgoing">().get<"ConnectV2">().connect.has_value());
}

TEST_F(OutgoingTest, AnUnansweredConnectTimesOutAfterFiveSeconds) {
  const Server server(SOCK_STREAM, "127.0.0.1", 0);
  std::vector<Fd> fillers;  // the queue of a listener with backlog 0 takes one or two
  for (int i = 0; i < 4; ++i) {
    fillers.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_storage storage;
    const socklen_t length = server.endpoint().to_sockaddr(storage);
    ::connect(fillers.back().get(), reinterpret_cast<sockaddr*>(&storage), length);
  }
  const auto begin = std::chrono::steady_clock::now();
  client_->send(ClientMessage::make<"TcpOutgoing">(
      proto::LayerTcpOutgoing::make<"ConnectV2">(uid(900), server.address())));
  EXPECT_TRUE(ping(std::chrono::milliseconds(1000)));  // nobody else waits
  const auto message = client_->receive();
  const auto took = std::chrono::steady_clock::now() - begin;
  ASSERT_TRUE(message && message->is<"TcpOutgoing">());
  const auto& reply = message->get<"TcpOutgoing">().get<"ConnectV2">().connect;
  ASSERT_FALSE(reply.has_value());
  const auto& error = reply.error().get<"RemoteIO">();
  EXPECT_TRUE(error.kind.is<"TimedOut">());
  EXPECT_FALSE(error.raw_os_error.has_value());
  EXPECT_GT(took, std::chrono::milliseconds(4500));
  EXPECT_LT(took, std::chrono::milliseconds(7000));
}

TEST_F(OutgoingTest, LegacyConnectsAreAnsweredInOrder) {
  Server gone(SOCK_STREAM);
  gone.close();
  const Server first(SOCK_STREAM), second(SOCK_STREAM);
  for (const proto::SocketAddress& address : {first.address(), gone.address(), second.address()}) {
    client_->send(
        ClientMessage::make<"TcpOutgoing">(proto::LayerTcpOutgoing::make<"Connect">(address)));
  }
  std::vector<std::string> seen;
  for (int i = 0; i < 3; ++i) {
    const auto message = client_->receive();
    ASSERT_TRUE(message && message->is<"TcpOutgoing">());
    const auto& reply = message->get<"TcpOutgoing">().get<"Connect">();
    seen.push_back(reply ? reply->remote_address.get<"Ip">().to_string()
                         : std::to_string(proto::to_errno(reply.error())));
  }
  EXPECT_EQ(seen,
            (std::vector<std::string>{first.endpoint().to_string(), std::to_string(ECONNREFUSED),
                                      second.endpoint().to_string()}));
}

TEST_F(OutgoingTest, UnixStreamsAreFoundInsideTheTargetsRoot) {
  const Server server(SOCK_STREAM, root_ + "/service.sock");
  std::filesystem::create_symlink("/service.sock", root_ + "/link.sock");
  const auto connected = connect(unix_path("/link.sock"));
  ASSERT_TRUE(connected.has_value());
  EXPECT_EQ(connected->remote_address, unix_path("/link.sock"));
  const Fd peer = server.accept();
  write(connected->connection_id, "over unix");
  EXPECT_EQ(receive_all(peer.get(), 9), "over unix");
  EXPECT_EQ(errno_of(connect(unix_path(root_ + "/service.sock"))), ENOENT);
  EXPECT_EQ(errno_of(connect(unix_path("/../../../../" + root_ + "/service.sock"))), ENOENT);
}

TEST_F(OutgoingTest, AbstractNamesWork) {
  const std::string name = "mirrord-test-" + std::to_string(::getpid());
  const Server server(SOCK_STREAM, std::string(1, '\0') + name);
  const auto connected = connect(
      proto::SocketAddress::make<"Unix">(proto::UnixAddr::make<"Abstract">(proto::Bytes(name))));
  ASSERT_TRUE(connected.has_value());
  const Fd peer = server.accept();
  send_all(peer.get(), "hi");
  EXPECT_EQ(read(connected->connection_id, 2), "hi");
}

TEST_F(OutgoingTest, SeqpacketsKeepTheirBoundaries) {
  const Server server(SOCK_SEQPACKET, root_ + "/packets.sock");
  client_->send(ClientMessage::make<"SeqpacketOutgoing">(
      proto::LayerSeqpacket::make<"ConnectV2">(uid(1), unix_path("/packets.sock"))));
  const auto reply = client_->receive();
  ASSERT_TRUE(reply && reply->is<"SeqpacketOutgoing">());
  const auto& connected = reply->get<"SeqpacketOutgoing">().get<"ConnectV2">().connect;
  ASSERT_TRUE(connected.has_value());
  EXPECT_TRUE(connected->local_address.get<"Unix">().is<"Unnamed">());
  const Fd peer = server.accept();
  for (const char* packet : {"one", "three", ""}) {
    client_->send(ClientMessage::make<"SeqpacketOutgoing">(
        proto::LayerSeqpacket::make<"Write">(0u, proto::Bytes(std::string_view(packet)))));
  }
  char buffer[64];
  EXPECT_EQ(::recv(peer.get(), buffer, sizeof buffer, 0), 3);
  EXPECT_EQ(::recv(peer.get(), buffer, sizeof buffer, 0), 5);
  EXPECT_EQ(::recv(peer.get(), buffer, sizeof buffer, 0), 0);
  ::send(peer.get(), "ab", 2, 0);
  ::send(peer.get(), "cde", 3, 0);
  ::shutdown(peer.get(), SHUT_WR);
  std::vector<std::string> seen;
  for (int i = 0; i < 4; ++i) {
    const auto message = client_->receive();
    ASSERT_TRUE(message && message->is<"SeqpacketOutgoing">());
    const auto& packet = message->get<"SeqpacketOutgoing">();
    seen.push_back(packet.is<"Close">() ? "<close>"
                                        : std::string(packet.get<"Read">()->bytes.text()));
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"ab", "cde", "", "<close>"}));
}

class UdpTest : public OutgoingTest {
 protected:
  proto::ConnectionId connect_udp(const Server& server) {
    client_->send(ClientMessage::make<"UdpOutgoing">(
        proto::LayerUdpOutgoing::make<"ConnectV2">(uid(++uids_), server.address())));
    const auto reply = client_->receive();
    return reply->get<"UdpOutgoing">().get<"ConnectV2">().connect.value().connection_id;
  }
  void send_datagram(proto::ConnectionId id, std::string_view text) {
    client_->send(ClientMessage::make<"UdpOutgoing">(
        proto::LayerUdpOutgoing::make<"Write">(id, proto::Bytes(text))));
  }
  std::string receive_datagram() {
    const auto message = client_->receive();
    if (!message || !message->is<"UdpOutgoing">())
      return "<nothing>";
    const auto& udp = message->get<"UdpOutgoing">();
    return udp.is<"Close">() ? "<close>" : std::string(udp.get<"Read">()->bytes.text());
  }
};

TEST_F(UdpTest, DatagramsOfAllSizesKeepTheirBoundaries) {
  for (const char* address : {"127.0.0.1", "::1"}) {
    const Server server(SOCK_DGRAM, address);
    const int space = 4 << 20;
    ::setsockopt(server.fd(), SOL_SOCKET, SO_RCVBUF, &space, sizeof space);
    const proto::ConnectionId id = connect_udp(server);
    std::string buffer(70'000, 0);
    for (const std::size_t size : {std::size_t{1}, std::size_t{512}, std::size_t{1472},
                                   std::size_t{9000}, std::size_t{65'000}}) {
      const std::string sent(size, static_cast<char>('a' + size % 26));
      send_datagram(id, sent);
      sockaddr_storage from{};
      socklen_t length = sizeof from;
      const ssize_t count = ::recvfrom(server.fd(), buffer.data(), buffer.size(), 0,
                                       reinterpret_cast<sockaddr*>(&from), &length);
      ASSERT_EQ(count, static_cast<ssize_t>(size));
      ::sendto(server.fd(), buffer.data(), size, 0, reinterpret_cast<sockaddr*>(&from), length);
      EXPECT_EQ(receive_datagram(), sent);
    }
  }
}

TEST_F(UdpTest, EmptyDatagramsAreNoEnd) {
  const Server server(SOCK_DGRAM);
  const proto::ConnectionId id = connect_udp(server);
  send_datagram(id, "");
  send_datagram(id, "a");
  char buffer[16];
  sockaddr_storage from{};
  socklen_t length = sizeof from;
  ASSERT_EQ(::recvfrom(server.fd(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&from),
                       &length),
            1);
  ::sendto(server.fd(), "", 0, 0, reinterpret_cast<sockaddr*>(&from), length);
  ::sendto(server.fd(), "b", 1, 0, reinterpret_cast<sockaddr*>(&from), length);
  EXPECT_EQ(receive_datagram(), "b");
}

TEST_F(UdpTest, AnUnreachablePortClosesTheConnection) {
  Server server(SOCK_DGRAM);
  const proto::ConnectionId id = connect_udp(server);
  server.close();
  send_datagram(id, "anybody?");
  EXPECT_EQ(receive_datagram(), "<close>");
}

}  // namespace
}  // namespace mirrord::test
