// tests/agent/traffic/relay_flow_test.cpp — relayed connections under load.
#include <poll.h>

#include "tests/agent/traffic/relay_fixture.h"

namespace mirrord::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

std::string block_of(std::size_t number, std::size_t size) {
  std::string block(size, 0);
  for (std::size_t i = 0; i < size; ++i)
    block[i] = static_cast<char>((number * size + i) * 2654435761u >> 13);
  return block;
}

// Sends `count` blocks, then the end.
void send_blocks(int fd, std::size_t count, std::size_t size) {
  for (std::size_t i = 0; i < count; ++i)
    send_all(fd, block_of(i, size));
  ::shutdown(fd, SHUT_WR);
}

// Reads to the end; how many blocks came right.
std::size_t receive_blocks(int fd, std::size_t size, std::chrono::milliseconds pause) {
  std::size_t right = 0;
  for (std::size_t i = 0;; ++i) {
    const std::string block = receive_all(fd, size);
    if (block.empty())
      return right;
    right += block == block_of(i, size) ? 1 : 0;
    if (i % 16 == 0)
      std::this_thread::sleep_for(pause);
  }
}

constexpr std::size_t kBlock = 256 << 10;

class RelayFlowTest : public RelayTest {
 protected:
  // The slowest of many echoes of 64 bytes on a connection of its own.
  std::chrono::milliseconds slowest_echo(int rounds) {
    const Server server(SOCK_STREAM);
    FakeHook hook(intproxy_->directory(), 77);
    const Relayed program = hook_connect(hook, server.endpoint());
    EXPECT_EQ(program.error, 0);
    const Fd peer = server.accept();
    Clock::duration slowest{};
    for (int i = 0; i < rounds; ++i) {
      const auto begin = Clock::now();
      send_all(program.socket.get(), std::string(64, 'p'));
      EXPECT_EQ(receive_all(peer.get(), 64).size(), 64u);
      send_all(peer.get(), std::string(64, 'q'));
      EXPECT_EQ(receive_all(program.socket.get(), 64).size(), 64u);
      slowest = std::max(slowest, Clock::now() - begin);
    }
    return std::chrono::duration_cast<std::chrono::milliseconds>(slowest);
  }
};

TEST_F(RelayFlowTest, UploadsToAPausingServerAreExact) {
  const Server server(SOCK_STREAM);
  const Relayed program = hook_connect(hook_, server.endpoint());
  const Fd peer = server.accept();
  std::thread sender([&] { send_blocks(program.socket.get(), 200, kBlock); });
  std::this_thread::sleep_for(300ms);
  EXPECT_EQ(receive_blocks(peer.get(), kBlock, 5ms), 200u);
  sender.join();
}

TEST_F(RelayFlowTest, DownloadsByAPausingProgramAreExact) {
  const Server server(SOCK_STREAM);
  const Relayed program = hook_connect(hook_, server.endpoint());
  const Fd peer = server.accept();
  std::thread sender([&] { send_blocks(peer.get(), 200, kBlock); });
  std::this_thread::sleep_for(300ms);
  EXPECT_EQ(receive_blocks(program.socket.get(), kBlock, 5ms), 200u);
  sender.join();
}

TEST_F(RelayFlowTest, AProgramThatStopsReadingHoldsUpNobodyElse) {
  const Server server(SOCK_STREAM);
  const Relayed stuck = hook_connect(hook_, server.endpoint());
  const Fd peer = server.accept();
  std::thread sender([&] { send_blocks(peer.get(), 600, kBlock); });  // 150 MiB, more than any cap
  std::this_thread::sleep_for(300ms);
  EXPECT_LT(slowest_echo(50), 1000ms);
  EXPECT_EQ(receive_blocks(stuck.socket.get(), kBlock, 0ms), 600u);
  sender.join();
}

TEST_F(RelayFlowTest, AServerThatStopsReadingHoldsUpNobodyElse) {
  const Server server(SOCK_STREAM);
  const Relayed program = hook_connect(hook_, server.endpoint());
  const Fd stuck = server.accept();
  std::thread sender([&] { send_blocks(program.socket.get(), 600, kBlock); });
  std::this_thread::sleep_for(300ms);
  EXPECT_LT(slowest_echo(50), 1000ms);
  EXPECT_EQ(receive_blocks(stuck.get(), kBlock, 0ms), 600u);
  sender.join();
}

TEST_F(RelayFlowTest, ABulkUploadLeavesRoomForOthers) {
  const Server server(SOCK_STREAM);
  const Relayed program = hook_connect(hook_, server.endpoint());
  const Fd peer = server.accept();
  std::thread sender([&] { send_blocks(program.socket.get(), 2000, kBlock); });
  std::thread receiver([&] { EXPECT_EQ(receive_all(peer.get()).size(), 2000 * kBlock); });
  EXPECT_LT(slowest_echo(50), 1000ms);
  sender.join();
  receiver.join();
}

TEST_F(RelayFlowTest, AThousandConnectionsEcho) {
  constexpr int kCount = 1000;
  const Server server(SOCK_STREAM);
  std::vector<Fd> programs, peers;
  for (int i = 0; i < kCount; ++i) {
    Relayed program = hook_connect(hook_, server.endpoint());
    ASSERT_EQ(program.error, 0);
    programs.push_back(std::move(program.socket));
    peers.push_back(server.accept());
  }
  for (int i = 0; i < kCount; ++i)
    send_all(programs[static_cast<std::size_t>(i)].get(), "number " + std::to_string(i) + "\n");
  int right = 0;
  for (std::size_t i = 0; i < kCount; ++i) {
    const std::string sent = "number " + std::to_string(i) + "\n";
    const std::string got = receive_all(peers[i].get(), sent.size());
    send_all(peers[i].get(), got);
    right += got == sent && receive_all(programs[i].get(), sent.size()) == sent ? 1 : 0;
  }
  EXPECT_EQ(right, kCount);
}

}  // namespace
}  // namespace mirrord::test
