// tests/agent/incoming/raw_test.cpp — connections stolen, passed through and mirrored as they are.
#include <sys/socket.h>

#include "proto/hints.h"
#include "tests/agent/incoming/fixture.h"

namespace mirrord::test {
namespace {

class RawTest : public testing::Test {
 protected:
  void steal_it(Client& client) {
    steal(client, port_);
    EXPECT_TRUE(next_text(client, From::kSteal).starts_with("subscribed"));
  }
  void mirror_it(Client& client) {
    mirror(client, port_);
    EXPECT_TRUE(next_text(client, From::kMirror).starts_with("subscribed"));
  }

  Server target_{SOCK_STREAM};
  std::uint16_t port_ = target_.endpoint().port;
  IncomingAgent agent_;
};

TEST_F(RawTest, AStolenConnectionIsAnnouncedWithItsAddresses) {
  auto client = agent_.connect();
  steal_it(*client);
  const Fd peer = agent_.arrive(target_);
  send_all(peer.get(), "\x01");
  const auto message = next_of(*client, From::kSteal);
  ASSERT_TRUE(message && message->is<"NewConnectionV2">());
  const auto& second = message->get<"NewConnectionV2">();
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  ::getsockname(peer.get(), reinterpret_cast<sockaddr*>(&own), &size);
  EXPECT_TRUE(second.transport.is<"Tcp">());
  EXPECT_EQ(second.connection.destination_port, port_);
  EXPECT_EQ(second.connection.source_port, net::Endpoint::from_sockaddr(own)->port);
  EXPECT_EQ(second.connection.remote_address.to_string(), "127.0.0.1");
  EXPECT_EQ(second.connection.local_address.to_string(), "127.0.0.1");
}

TEST_F(RawTest, OldClientsGetTheFirstFormOfTheAnnouncement) {
  auto client = agent_.connect("1.19.3");
  steal_it(*client);
  const Fd peer = agent_.arrive(target_);
  send_all(peer.get(), "GET / HTTP/1.1\r\nhost: a\r\n\r\n");  // no messages for it, so bytes
  EXPECT_EQ(next_text(*client, From::kSteal), "new1 0");
  EXPECT_TRUE(next_text(*client, From::kSteal).starts_with("data 0 GET"));
}

TEST_F(RawTest, BytesAndEndsTravelBothWays) {
  auto client = agent_.connect();
  steal_it(*client);
  const Fd peer = agent_.arrive(target_);
  send_all(peer.get(), "\x02hello");
  EXPECT_EQ(next_text(*client, From::kSteal), "new2 0");
  EXPECT_EQ(next_text(*client, From::kSteal), "data 0 \x02hello");
  answer(*client, 0, "world");
  EXPECT_EQ(receive_all(peer.get(), 5), "world");
  ::shutdown(peer.get(), SHUT_WR);
  EXPECT_EQ(next_text(*client, From::kSteal), "end 0");
  answer(*client, 0, "late");
  answer(*client, 0, "");
  EXPECT_EQ(receive_all(peer.get()), "late");
  EXPECT_EQ(next_text(*client, From::kSteal), "close 0");
}

TEST_F(RawTest, AServerThatSpeaksFirstIsNotKeptWaiting) {
  auto client = agent_.connect();
  steal_it(*client);
  const auto begin = std::chrono::steady_clock::now();
  const Fd peer = agent_.arrive(target_);
  EXPECT_EQ(next_text(*client, From::kSteal), "new2 0");
  answer(*client, 0, "220 ready");
  EXPECT_EQ(receive_all(peer.get(), 9), "220 ready");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(1500));
}

TEST_F(RawTest, AnUnsubscribedConnectionIsReset) {
  auto client = agent_.connect();
  steal_it(*client);
  const Fd peer = agent_.arrive(target_);
  send_all(peer.get(), "\x03");
  EXPECT_EQ(next_text(*client, From::kSteal), "new2 0");
  drop(*client, 0);
  EXPECT_EQ(end_of(peer.get()), "reset");
}

TEST_F(RawTest, AClientThatGoesResetsItsConnectionsAndFreesThePort) {
  auto client = agent_.connect();
  steal_it(*client);
  const Fd peer = agent_.arrive(target_);
  send_all(peer.get(), "\x03");
  EXPECT_EQ(next_text(*client, From::kSteal), "new2 0");
  client.reset();
  EXPECT_EQ(end_of(peer.get()), "reset");
  EXPECT_TRUE(agent_.becomes(port_, false));
  const Fd next = agent_.arrive(target_);
  EXPECT_TRUE(target_.accept().is_open());
}

TEST_F(RawTest, AMirroredConnectionReachesTheTargetAndIsCopied) {
  auto client = agent_.connect();
  mirror_it(*client);
  Fd peer = agent_.arrive(target_);
  Fd served = target_.accept();
  send_all(peer.get(), "\x04question");
  EXPECT_EQ(receive_all(served.get(), 9), "\x04question");
  send_all(served.get(), "answer");
  EXPECT_EQ(receive_all(peer.get(), 6), "answer");
  EXPECT_EQ(next_text(*client, From::kMirror), "new2 0");
  EXPECT_EQ(next_text(*client, From::kMirror), "data 0 \x04question");
  ::shutdown(peer.get(), SHUT_WR);
  EXPECT_EQ(receive_all(served.get()), "");
  EXPECT_EQ(next_text(*client, From::kMirror), "end 0");
  served.reset();
  EXPECT_EQ(receive_all(peer.get()), "");
  EXPECT_EQ(next_text(*client, From::kMirror), "close 0");
}

TEST_F(RawTest, AStolenConnectionIsMirroredToo) {
  auto thief = agent_.connect();
  auto first = agent_.connect();
  auto second = agent_.connect();
  steal_it(*thief);
  mirror_it(*first);
  mirror_it(*second);
  const Fd peer = agent_.arrive(target_);
  send_all(peer.get(), "\x05x");
  EXPECT_EQ(next_text(*thief, From::kSteal), "new2 0");
  EXPECT_EQ(next_text(*thief, From::kSteal), "data 0 \x05x");
  for (Client* client : {first.get(), second.get()}) {
    EXPECT_EQ(next_text(*client, From::kMirror), "new2 0");
    EXPECT_EQ(next_text(*client, From::kMirror), "data 0 \x05x");
  }
  drop(*thief, 0);
  EXPECT_EQ(end_of(peer.get()), "reset");
  EXPECT_EQ(next_text(*first, From::kMirror), "close 0");
}

TEST_F(RawTest, AResetOfTheTargetResetsThePeer) {
  auto client = agent_.connect();
  mirror_it(*client);
  const Fd peer = agent_.arrive(target_);
  Fd served = target_.accept();
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(served.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  served.reset();
  EXPECT_EQ(end_of(peer.get()), "reset");
}

TEST_F(RawTest, ATargetThatDoesNotListenResetsThePeer) {
  auto client = agent_.connect();
  mirror_it(*client);
  target_.close();
  const Fd peer = agent_.arrive(target_);
  EXPECT_EQ(end_of(peer.get()), "reset");
}

// The mirror's client takes nothing: the target gets everything all the same, and the loss is told.
TEST_F(RawTest, ASlowMirrorLosesItsCopyAndSlowsNobody) {
  auto client = agent_.connect();
  mirror_it(*client);
  const Fd peer = agent_.arrive(target_);
  const Fd served = target_.accept();
  constexpr std::size_t kTotal = 64 << 20;
  std::thread sender([&] {
    const std::string block(1 << 20, '\x01');
    for (std::size_t sent = 0; sent < kTotal; sent += block.size())
      send_all(peer.get(), block);
    ::shutdown(peer.get(), SHUT_WR);
  });
  EXPECT_EQ(receive_all(served.get()).size(), kTotal);
  sender.join();
  std::size_t copied = 0;
  while (true) {
    const auto message = next_of(*client, From::kMirror);
    ASSERT_TRUE(message);
    if (const auto* data = message->get_if<"Data">())
      copied += data->bytes.size();
    if (message->is<"Close">())
      break;
  }
  EXPECT_GT(copied, std::size_t{1} << 20);
  EXPECT_LT(copied, kTotal);
  EXPECT_NE(next_log(*client).find("cut short"), std::string::npos);
  EXPECT_EQ(next_text(*client, From::kMirror, std::chrono::milliseconds(100)), "<nothing>");
}

TEST_F(RawTest, ASlowPeerPausesOnlyItsOwnConnection) {
  auto client = agent_.connect("1.29.0+flight");
  steal_it(*client);
  const Fd slow = agent_.arrive(target_);
  send_all(slow.get(), "\x01");
  EXPECT_EQ(next_text(*client, From::kSteal), "new2 0");
  EXPECT_EQ(next_text(*client, From::kSteal), "data 0 \x01");
  const std::string block(256 << 10, 'x');
  std::size_t sent = 0;
  const std::string paused = "close " + std::to_string(proto::with_hint(proto::Hint::kPause, 0));
  while (next_text(*client, From::kSteal, std::chrono::milliseconds(0)) != paused) {
    answer(*client, 0, block);
    sent += block.size();
    ASSERT_LT(sent, std::size_t{256} << 20);
  }
  const Fd other = agent_.arrive(target_);
  send_all(other.get(), "\x01");
  EXPECT_EQ(next_text(*client, From::kSteal), "new2 1");
  answer(*client, 1, "fast");
  EXPECT_EQ(receive_all(other.get(), 4), "fast");
  EXPECT_EQ(receive_all(slow.get(), sent).size(), sent);
  EXPECT_EQ(next_text(*client, From::kSteal), "data 1 \x01");
  EXPECT_EQ(next_text(*client, From::kSteal),
            "close " + std::to_string(proto::with_hint(proto::Hint::kResume, 0)));
}

// Tens of MiB in both directions at once, over one connection, exact.
TEST_F(RawTest, FullDuplexIsExact) {
  auto client = agent_.connect("1.29.0+flight");
  steal_it(*client);
  const Fd peer = agent_.arrive(target_);
  constexpr std::size_t kTotal = 32 << 20;
  std::string pattern(1 << 20, 0);
  for (std::size_t i = 0; i < pattern.size(); ++i)
    pattern[i] = static_cast<char>(i * 31 + (i >> 8));
  std::thread sender([&] {
    send_all(peer.get(), "\x01");
    for (std::size_t sent = 0; sent < kTotal; sent += pattern.size())
      send_all(peer.get(), pattern);
    ::shutdown(peer.get(), SHUT_WR);
  });
  std::string echoed;
  std::thread reader([&] { echoed = receive_all(peer.get()); });
  std::string got;
  while (true) {
    auto message = next_of(*client, From::kSteal);
    ASSERT_TRUE(message);
    auto* data = message->get_if<"Data">();
    if (data == nullptr)
      continue;
    got += data->bytes.text();
    answer(*client, 0, data->bytes.text());
    if (data->bytes.empty())
      break;
  }
  sender.join();
  reader.join();
  std::string wanted = "\x01";
  while (wanted.size() < kTotal + 1)
    wanted += pattern;
  EXPECT_TRUE(got == wanted);
  EXPECT_TRUE(echoed == wanted);
}

}  // namespace
}  // namespace mirrord::test
