// tests/unit/net/stream_test.cpp — streams: exact bytes under back-pressure, ends, last words.
#include "net/stream.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <thread>
#include <vector>

#include "tests/support/sockets.h"

namespace mirrord::net {
namespace {

// What a stream reported.
struct Seen {
  std::vector<std::byte> bytes;
  int ended = 0, failed = 0, drained = 0, finished = 0;
  int error = 0;
};

class StreamTest : public ::testing::Test {
 protected:
  void start(Stream& stream) {
    Stream::Handlers handlers;
    handlers.buffer = [this] { return std::span(space_); };
    handlers.received = [this](std::size_t count) {
      seen_.bytes.insert(seen_.bytes.end(), space_.begin(),
                         space_.begin() + static_cast<std::ptrdiff_t>(count));
    };
    handlers.ended = [this] { ++seen_.ended; };
    handlers.failed = [this](Error error) {
      ++seen_.failed;
      seen_.error = error.sys;
      loop_.stop();
    };
    handlers.drained = [this] { ++seen_.drained; };
    handlers.finished = [this] {
      ++seen_.finished;
      loop_.stop();
    };
    stream.start(std::move(handlers));
  }

  Loop loop_;
  std::vector<std::byte> space_{std::size_t{64} * 1024};
  Seen seen_;
};

// A peer that closes with bytes of ours unread leaves an error behind, and maybe much of its own.
TEST_F(StreamTest, ReadsOnAfterAnErrorUntilThePeersLastByte) {
  int ends[2] = {-1, -1};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  Fd theirs(ends[1]);
  space_.resize(1000);  // many reads, each of which must be asked for again
  Stream stream(loop_, Fd(ends[0]), "the peer");
  constexpr std::size_t kTheirs = 100'001;
  const std::vector<std::byte> bytes(kTheirs);
  ASSERT_EQ(::send(theirs.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(kTheirs));
  start(stream);
  std::vector<std::byte> unread(10);
  stream.write(unread);
  stream.flush();
  theirs.reset();
  Timer limit(loop_);
  limit.start(std::chrono::seconds(5), [this] { loop_.stop(); });
  Timer more(loop_);
  more.start_repeating(std::chrono::milliseconds(1), [&] {
    if (seen_.ended + seen_.failed > 0)
      loop_.stop();
    stream.write(unread);
  });
  loop_.run();
  EXPECT_EQ(seen_.bytes.size(), kTheirs);
  EXPECT_EQ(seen_.ended + seen_.failed, 1);
}

TEST_F(StreamTest, DeliversEveryByteToAReaderThatPauses) {
  auto [ours, theirs] = test::tcp_pair();
  constexpr std::size_t kTotal = 24 << 20;
  std::size_t wrong = 0, got = 0;
  std::thread reader([&] {
    std::vector<unsigned char> block(300'000);
    while (true) {
      const ssize_t count = ::recv(theirs.get(), block.data(), block.size(), 0);
      if (count <= 0) {
        return;
      }
      for (ssize_t i = 0; i < count; ++i, ++got) {
        wrong += block[static_cast<std::size_t>(i)] != static_cast<unsigned char>(got * 7 >> 3);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(got % 3));
    }
  });
  Stream stream(loop_, std::move(ours), "peer");
  start(stream);
  for (std::size_t sent = 0; sent < kTotal;) {
    const std::size_t size = std::min<std::size_t>(kTotal - sent, 100'003);
    std::vector<std::byte> block(size);
    for (std::byte& byte : block) {
      byte = static_cast<std::byte>(sent++ * 7 >> 3);
    }
    stream.write(block);
  }
  stream.finish_writing();
  loop_.run();
  reader.join();
  EXPECT_EQ(got, kTotal);
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(seen_.finished, 1);
  EXPECT_EQ(seen_.drained, 1);
}

TEST_F(StreamTest, SendsPayloadsThatLieInPipesInTheirPlace) {
  auto [ours, theirs] = test::tcp_pair();
  std::string file_name = testing::TempDir() + "/piped-XXXXXX";
  const Fd file(::mkstemp(file_name.data()));
  ::unlink(file_name.c_str());
  std::string content(3 << 20, ' ');
  for (std::size_t i = 0; i < content.size(); ++i) {
    content[i] = static_cast<char>(i * 31 >> 4);
  }
  ASSERT_EQ(::write(file.get(), content.data(), content.size()),
            static_cast<ssize_t>(content.size()));
  std::string got;
  std::thread reader([&] {
    std::string block(100'000, ' ');
    for (ssize_t n; (n = ::recv(theirs.get(), block.data(), block.size(), 0)) > 0;) {
      got.append(block, 0, static_cast<std::size_t>(n));
    }
  });
  Stream stream(loop_, std::move(ours), "peer");
  start(stream);
  PipePool pool;
  std::string expected;
  for (const off_t from : {off_t{0}, off_t{1 << 20}, off_t{12'345}}) {
    const std::string head = "head " + std::to_string(from) + ":";
    const std::size_t size = 700'001;
    LeasedPipe pipe = pool.take();
    ASSERT_TRUE(pipe);
    off_t at = from;
    while ((*pipe)->size() < size) {
      ASSERT_GT((*pipe)->fill(file.get(), &at, size - (*pipe)->size()), 0);
    }
    stream.write(std::as_bytes(std::span(head)));
    stream.write(Chunk::of_pipe(std::move(pipe)));
    stream.write(std::as_bytes(std::span(std::string_view("tail"))));
    expected += head + content.substr(static_cast<std::size_t>(from), size) + "tail";
  }
  stream.finish_writing();
  loop_.run();
  reader.join();
  EXPECT_TRUE(got == expected) << got.size() << " of " << expected.size();
}

TEST_F(StreamTest, GivesAPipeBackOnlyWhenItIsEmpty) {
  PipePool pool;
  std::vector<LeasedPipe> taken;
  for (std::size_t i = 0; i < PipePool::kMost; ++i) {
    taken.push_back(pool.take());
    ASSERT_TRUE(taken.back());
  }
  EXPECT_FALSE(pool.take()) << "that many payloads are enough";
  const std::string text(4096, 'x');
  const Fd file(::memfd_create("text", MFD_CLOEXEC));
  ASSERT_EQ(::write(file.get(), text.data(), text.size()), 4096);
  off_t at = 0;
  ASSERT_EQ((*taken.front())->fill(file.get(), &at, 4096), 4096);
  taken.clear();
  for (std::size_t i = 0; i < PipePool::kMost; ++i) {
    taken.push_back(pool.take());
    ASSERT_TRUE(taken.back());
    EXPECT_EQ((*taken.back())->size(), 0U) << "bytes of somebody else";
  }
}

TEST_F(StreamTest, ReadsThePeersLastWordsBeforeItFails) {
  auto [ours, theirs] = test::tcp_pair();
  ::send(theirs.get(), "go away", 7, 0);
  ::send(ours.get(), "unread", 6, 0);  // its close becomes a reset
  theirs.reset();
  Stream stream(loop_, std::move(ours), "peer");
  stream.write(std::as_bytes(std::span("more", 4)));
  start(stream);
  loop_.run();
  EXPECT_EQ(seen_.failed, 1);
  EXPECT_EQ(seen_.bytes.size(), 7u);
  EXPECT_EQ(seen_.ended, 0);
}

TEST_F(StreamTest, WritingGoesOnAfterThePeerHasFinished) {
  auto [ours, theirs] = test::tcp_pair();
  ::shutdown(theirs.get(), SHUT_WR);
  Stream stream(loop_, std::move(ours), "peer");
  start(stream);
  stream.write(std::as_bytes(std::span("answer", 6)));
  stream.finish_writing();
  loop_.run();
  char text[16];
  EXPECT_EQ(::recv(theirs.get(), text, sizeof text, MSG_WAITALL), 6);
  EXPECT_EQ(seen_.finished, 1);
  EXPECT_EQ(seen_.failed, 0);
}

}  // namespace
}  // namespace mirrord::net
