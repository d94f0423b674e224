// tests/agent/traffic/outgoing_flow_test.cpp — outgoing connections under load: exact bytes, slow
// readers on both sides, fairness, numbers.
#include <poll.h>

#include <atomic>
#include <thread>

#include "proto/hints.h"
#include "tests/agent/traffic/fixture.h"

namespace mirrord::test {
namespace {

using namespace std::chrono_literals;

unsigned char pattern(std::size_t at) {
  return static_cast<unsigned char>(at * 2654435761u >> 13);
}

std::string pattern_block(std::size_t begin, std::size_t size) {
  std::string block(size, 0);
  for (std::size_t i = 0; i < size; ++i)
    block[i] = static_cast<char>(pattern(begin + i));
  return block;
}

// Bytes that differ from the pattern from `begin` on.
std::size_t count_wrong(std::string_view block, std::size_t begin) {
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < block.size(); ++i)
    wrong += static_cast<unsigned char>(block[i]) != pattern(begin + i);
  return wrong;
}

// Reads to the end with pauses, and compares.
struct PausingReader {
  std::size_t got = 0;
  std::size_t wrong = 0;

  void run(int fd, std::chrono::milliseconds first_pause) {
    std::this_thread::sleep_for(first_pause);
    std::string block(1 << 20, 0);
    for (int round = 0;; ++round) {
      const ssize_t count = ::recv(fd, block.data(), block.size(), 0);
      if (count <= 0)
        return;
      const auto size = static_cast<std::size_t>(count);
      wrong += count_wrong({block.data(), size}, got);
      got += size;
      if (round % 16 == 0)
        std::this_thread::sleep_for(5ms);
    }
  }
};

class FlowTest : public TrafficTest {};

TEST_F(FlowTest, AnUploadToAPausingReaderIsExact) {
  const Server server(SOCK_STREAM);
  const auto id = connect(server.address()).value().connection_id;
  const Fd peer = server.accept();
  PausingReader reader;
  std::thread thread([&] { reader.run(peer.get(), 300ms); });
  constexpr std::size_t kTotal = 64 << 20;  // more than the agent queues
  for (std::size_t sent = 0, size = 1; sent < kTotal; sent += size) {
    size = std::min(kTotal - sent, 1 + (size * 7919) % 200'000);
    write(id, pattern_block(sent, size));
  }
  finish(id);
  thread.join();
  EXPECT_EQ(reader.got, kTotal);
  EXPECT_EQ(reader.wrong, 0u);
}

TEST_F(FlowTest, AStuckReaderDoesNotHoldUpOthers) {
  const Server server(SOCK_STREAM);
  const auto stuck = connect(server.address()).value().connection_id;
  const Fd stuck_peer = server.accept();
  const auto lively = connect(server.address()).value().connection_id;
  const Fd lively_peer = server.accept();
  for (int i = 0; i < 24; ++i)
    write(stuck, std::string(1 << 20, 's'));
  write(lively, "quick");
  EXPECT_EQ(receive_all(lively_peer.get(), 5), "quick");
  send_all(lively_peer.get(), "reply");
  EXPECT_EQ(read(lively, 5), "reply");
  EXPECT_TRUE(ping(5s));
}

TEST_F(FlowTest, ADownloadByAPausingClientIsExact) {
  const Server server(SOCK_STREAM);
  const auto id = connect(server.address()).value().connection_id;
  const Fd peer = server.accept();
  constexpr std::size_t kTotal = 48 << 20;
  std::thread sender([&] {
    for (std::size_t sent = 0; sent < kTotal; sent += 1 << 20)
      send_all(peer.get(), pattern_block(sent, 1 << 20));
    ::shutdown(peer.get(), SHUT_WR);
  });
  std::this_thread::sleep_for(200ms);
  std::size_t got = 0, wrong = 0;
  for (int round = 0;; ++round) {
    const std::string part = next(id);
    if (part == "<end>" || part == "<nothing>")
      break;
    wrong += count_wrong(part, got);
    got += part.size();
    if (round % 32 == 0)
      std::this_thread::sleep_for(5ms);
  }
  sender.join();
  EXPECT_EQ(got, kTotal);
  EXPECT_EQ(wrong, 0u);
}

TEST_F(FlowTest, BothDirectionsAtOnceAreExact) {
  const Server server(SOCK_STREAM);
  const auto id = connect(server.address()).value().connection_id;
  const Fd peer = server.accept();
  constexpr std::size_t kTotal = 32 << 20, kBlock = 256 << 10;
  std::thread echo([&] {
    std::string block(kBlock, 0);
    while (true) {
      const ssize_t count = ::recv(peer.get(), block.data(), block.size(), 0);
      if (count <= 0)
        break;
      send_all(peer.get(), {block.data(), static_cast<std::size_t>(count)});
    }
    ::shutdown(peer.get(), SHUT_WR);
  });
  std::thread upload([&] {  // the client's socket is full-duplex: one thread sends, one receives
    for (std::size_t sent = 0; sent < kTotal; sent += kBlock)
      write(id, pattern_block(sent, kBlock));
    finish(id);
  });
  std::size_t got = 0, wrong = 0;
  while (true) {
    const std::string part = next(id);
    if (part == "<end>" || part == "<nothing>")
      break;
    wrong += count_wrong(part, got);
    got += part.size();
  }
  upload.join();
  echo.join();
  EXPECT_EQ(got, kTotal);
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(next(id), "<close>");
}

TEST_F(FlowTest, AThousandConnectionsAtTheSameTime) {
  constexpr int kCount = 1000;
  const Server server(SOCK_STREAM);
  std::thread echo([&] {
    std::vector<Fd> peers;
    std::vector<pollfd> ready{{server.fd(), POLLIN, 0}};
    int done = 0;
    while (done<kCount&& ::poll(ready.data(), ready.size(), 20'000)> 0) {
      for (std::size_t i = ready.size(); i-- > 1;) {
        if ((ready[i].revents & (POLLIN | POLLHUP)) == 0)
          continue;
        char block[64];
        const ssize_t count = ::recv(ready[i].fd, block, sizeof block, 0);
        if (count > 0) {
          ::send(ready[i].fd, block, static_cast<std::size_t>(count), MSG_NOSIGNAL);
        } else {
          ready[i].fd = -1;
          ++done;
        }
      }
      if ((ready[0].revents & POLLIN) != 0) {
        peers.push_back(server.accept());
        ready.push_back({peers.back().get(), POLLIN, 0});
      }
    }
  });
  for (int i = 0; i < kCount; ++i) {
    client_->send(ClientMessage::make<"TcpOutgoing">(
        proto::LayerTcpOutgoing::make<"ConnectV2">(uid(i), server.address())));
  }
  for (int i = 0; i < kCount; ++i) {
    const auto reply = client_->receive();
    ASSERT_TRUE(reply && reply->is<"TcpOutgoing">());
    const auto& connected = reply->get<"TcpOutgoing">().get<"ConnectV2">().connect;
    ASSERT_TRUE(connected.has_value());
  }
  for (std::uint64_t id = 0; id < kCount; ++id)
    write(id, "number " + std::to_string(id));
  std::vector<std::string> seen(kCount);
  std::size_t closed = 0;
  while (closed < kCount) {
    auto message = client_->receive();
    ASSERT_TRUE(message && message->is<"TcpOutgoing">());
    auto& tcp = message->get<"TcpOutgoing">();
    if (tcp.is<"Close">()) {
      ++closed;
      continue;
    }
    auto& data = *tcp.get<"Read">();
    if (!data.bytes.empty()) {
      seen[data.connection_id] += data.bytes.text();
      finish(data.connection_id);
    }
  }
  echo.join();
  for (std::uint64_t id = 0; id < kCount; ++id)
    EXPECT_EQ(seen[id], "number " + std::to_string(id));
}

TEST_F(FlowTest, AClientOfOursIsAskedToPauseASlowConnection) {
  ASSERT_TRUE(client_->shake_hands(proto::client_version()));
  const Server server(SOCK_STREAM);
  const auto id = connect(server.address()).value().connection_id;
  const Fd peer = server.accept();
  std::size_t sent = 0;
  std::string event;
  for (; sent < 32 && (event = next(proto::with_hint(proto::Hint::kPause, id), 20ms)) != "<close>";
       ++sent)
    write(id, pattern_block(sent << 20, 1 << 20));
  EXPECT_EQ(event, "<close>");
  std::thread reader([&] { EXPECT_EQ(count_wrong(receive_all(peer.get(), sent << 20), 0), 0u); });
  EXPECT_EQ(next(proto::with_hint(proto::Hint::kResume, id)), "<close>");
  reader.join();
}

TEST_F(FlowTest, AForeignClientSeesNoHints) {
  ASSERT_TRUE(client_->shake_hands(proto::own_version()));
  const Server server(SOCK_STREAM);
  const auto id = connect(server.address()).value().connection_id;
  const Fd peer = server.accept();
  for (int i = 0; i < 16; ++i)
    write(id, std::string(1 << 20, 'x'));
  EXPECT_TRUE(ping());
  EXPECT_FALSE(client_->receive(200ms).has_value());
}

TEST_F(FlowTest, APausedConnectionIsNotReadUntilItIsResumed) {
  ASSERT_TRUE(client_->shake_hands(proto::client_version()));
  const Server server(SOCK_STREAM);
  const auto id = connect(server.address()).value().connection_id;
  const Fd peer = server.accept();
  close(proto::with_hint(proto::Hint::kPause, id));
  ASSERT_TRUE(ping());
  send_all(peer.get(), "later");
  EXPECT_EQ(next(id, 100ms), "<nothing>");
  close(proto::with_hint(proto::Hint::kResume, id));
  EXPECT_EQ(read(id, 5), "later");
}

TEST_F(FlowTest, AnAbortBecomesAReset) {
  ASSERT_TRUE(client_->shake_hands(proto::client_version()));
  const Server server(SOCK_STREAM);
  const auto id = connect(server.address()).value().connection_id;
  const Fd peer = server.accept();
  close(proto::with_hint(proto::Hint::kReset, id));
  char byte;
  EXPECT_EQ(::recv(peer.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

}  // namespace
}  // namespace mirrord::test
