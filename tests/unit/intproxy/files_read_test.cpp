// tests/unit/intproxy/files_read_test.cpp — large files: windows, read-ahead, jumps, growth, memory.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>

#include "tests/unit/intproxy/fake_hook.h"

namespace mirrord::intproxy::test {
namespace {

using local::FileKind;
using local::MessageType;

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) {
    text[i] = static_cast<char>((i * 2654435761U) >> 13);
  }
  return text;
}

// Reads as the hook does: from the window when the bytes are there, else by a fetch.
struct Reader {
  TestSession& session;
  FakeHook& hook;
  const Opened& opened;
  int fetches = 0;

  std::string read(std::uint64_t offset, std::size_t length) {
    std::string all;
    while (all.size() < length) {
      const std::uint64_t at = offset + all.size();
      local::FileSlot& slot = session.slots()[opened.reply.slot];
      const std::uint64_t begin = std::atomic_ref(slot.begin).load();
      const std::uint64_t end = std::atomic_ref(slot.end).load();
      std::uint64_t ready = at >= begin && at < end ? end - at : 0;
      if (ready == 0) {
        ++fetches;
        const Answer answer = hook.fetch(opened.reply.handle, at, 65536);
        const auto range = answer.as<local::RangeReply>();
        if (!answer.has_come || answer.error != 0 || at >= range.end) {
          break;
        }
        ready = range.end - at;
      }
      all += read_range(opened.descriptor, at, std::min<std::size_t>(ready, length - all.size()));
      const std::uint64_t position = offset + all.size();
      std::atomic_ref(slot.reader_position).store(position);
      if (std::atomic_ref(slot.wants_nudge).load() != 0 &&
          position >= std::atomic_ref(slot.nudge_at).load() &&
          std::atomic_ref(slot.wants_nudge).exchange(0) != 0) {
        hook.send(MessageType::kNudge,
                  FakeHook::bytes_of(local::RangeRequest{opened.reply.handle, position, 0, 0, 0}));
      }
    }
    return all;
  }
};

TEST(FilesRead, SequentialReadIsCompleteAndAheadOfTheReader) {
  TestSession session({.quiet_ms = 1});
  const std::string content = pattern(24 << 20);
  session.agent.add("/big", {.content = content});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/big", O_RDONLY);
  ASSERT_EQ(opened.reply.kind, FileKind::kCached);
  ASSERT_NE(opened.reply.slot, local::kNoSlot);
  EXPECT_EQ(opened.reply.ready_end, 128'000U);
  struct stat status {};
  ::fstat(opened.descriptor.get(), &status);
  EXPECT_EQ(static_cast<std::size_t>(status.st_size), content.size());
  Reader reader{session, hook, opened};
  std::string got;
  while (got.size() < content.size()) {
    const std::string piece = reader.read(got.size(), 65536);
    ASSERT_FALSE(piece.empty());
    got += piece;
  }
  EXPECT_TRUE(got == content);
  EXPECT_LT(session.agent.round_trips(), 100) << "of 192 that a window of 128,000 would take";
}

TEST(FilesRead, RandomAccessGetsTheRightBytes) {
  TestSession session({.quiet_ms = 0});
  const std::string content = pattern(16 << 20);
  session.agent.add("/big", {.content = content});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/big", O_RDONLY);
  Reader reader{session, hook, opened};
  std::uint64_t at = 1;
  for (int i = 0; i < 300; ++i) {
    at = (at * 6364136223846793005ULL + 1442695040888963407ULL);
    const std::uint64_t offset = at % (content.size() - 5000);
    ASSERT_EQ(reader.read(offset, 5000), content.substr(offset, 5000)) << offset;
  }
}

TEST(FilesRead, WholeFileIsFetchedWhenAskedFor) {
  TestSession session({.quiet_ms = 0});
  const std::string content = pattern(3 << 20);
  session.agent.add("/big", {.content = content});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/big", O_RDONLY);
  const Answer answer =
      hook.call(MessageType::kFetchAll, local::HandleRequest{opened.reply.handle});
  ASSERT_EQ(answer.error, 0);
  EXPECT_EQ(answer.as<local::RangeReply>().end, content.size());
  EXPECT_TRUE(read_range(opened.descriptor, 0, content.size()) == content);
}

TEST(FilesRead, ShortReadsOfTheAgentAreContinued) {
  TestSession session({.quiet_ms = 0});
  const std::string content = pattern(1 << 20);
  session.agent.add("/big", {.content = content, .max_read = 50'000});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/big", O_RDONLY);
  ASSERT_EQ(opened.error, 0);
  ASSERT_EQ(hook.call(MessageType::kFetchAll, local::HandleRequest{opened.reply.handle}).error, 0);
  EXPECT_TRUE(read_range(opened.descriptor, 0, content.size()) == content);
}

TEST(FilesRead, MemoryFarBehindTheReaderIsGivenBack) {
  TestSession session({.quiet_ms = 0});
  const std::string content = pattern(112 << 20);
  session.agent.add("/huge", {.content = content});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/huge", O_RDONLY);
  Reader reader{session, hook, opened};
  for (std::size_t at = 0; at < content.size(); at += 1 << 20) {
    ASSERT_TRUE(reader.read(at, 1 << 20) == content.substr(at, 1 << 20)) << at;
  }
  struct stat status {};
  ::fstat(opened.descriptor.get(), &status);
  EXPECT_LT(status.st_blocks * 512, 100 << 20);
  EXPECT_TRUE(reader.read(4096, 10'000) == content.substr(4096, 10'000)) << "and comes again";
}

TEST(FilesRead, GrowingFileIsSeenAfterASecond) {
  TestSession session;
  session.agent.add("/log", {.content = "one\n"});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/log", O_RDONLY);
  {
    const auto guard = session.agent.lock();
    session.agent.file_unlocked("/log").content += "two\n";
  }
  EXPECT_EQ(hook.fetch(opened.reply.handle, 4, 100).as<local::RangeReply>().end, 4U);
  EXPECT_EQ(session.agent.round_trips(), 1) << "the end is known for a second";
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  EXPECT_EQ(hook.fetch(opened.reply.handle, 4, 100).as<local::RangeReply>().end, 8U);
  EXPECT_EQ(read_range(opened.descriptor, 0, 100), "one\ntwo\n");
}

TEST(FilesRead, ShrunkFileEndsWhereItEnds) {
  TestSession session({.quiet_ms = 0});
  session.agent.add("/f", {.content = pattern(1 << 20)});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/f", O_RDONLY);
  {
    const auto guard = session.agent.lock();
    session.agent.file_unlocked("/f").content.resize(300'000);
  }
  Reader reader{session, hook, opened};
  EXPECT_EQ(reader.read(0, 1 << 20).size(), 300'000U);
}

TEST(FilesRead, WriteOfTheSessionReachesItsReaders) {
  TestSession session;
  session.agent.add("/f", {.content = "old old"});
  FakeHook hook = session.connect();
  const Opened reader = hook.open("/f", O_RDONLY);
  EXPECT_EQ(read_range(reader.descriptor, 0, 100), "old old");
  const Opened writer = hook.open("/f", O_RDWR);
  ASSERT_EQ(writer.reply.kind, FileKind::kDirect);
  hook.call(MessageType::kWrite, local::RangeRequest{writer.reply.handle, 0, 3, 0, 0}, "new");
  EXPECT_EQ(hook.close(writer.reply.handle, true), 0);
  EXPECT_TRUE(eventually([&] { return read_range(reader.descriptor, 0, 100) == "new old"; }));
}

TEST(FilesRead, ErrorOfTheAgentReachesTheReader) {
  TestSession session;
  session.agent.add("/f", {.content = pattern(1 << 20)});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/f", O_RDONLY);
  session.agent.intercept(
      [](const proto::FileRequest& request) -> std::optional<proto::FileResponse> {
        if (!request.is<"ReadLimited">()) {
          return std::nullopt;
        }
        auto response = proto::FileResponse::make<"ReadLimited">();
        response.get<"ReadLimited">() = std::unexpected(proto::from_errno(EIO));
        return response;
      });
  EXPECT_EQ(hook.fetch(opened.reply.handle, 500'000, 1000).error, EIO);
}

}  // namespace
}  // namespace mirrord::intproxy::test
