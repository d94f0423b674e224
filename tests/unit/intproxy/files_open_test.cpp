// tests/unit/intproxy/files_open_test.cpp — opening, metadata and round trips of small files.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>

#include "applets/intproxy/stat_ahead.h"
#include "tests/unit/intproxy/fake_hook.h"

namespace mirrord::intproxy::test {
namespace {

using local::FileKind;
using local::MessageType;

TEST(FilesOpen, SmallFileIsWholeAfterOneRoundTrip) {
  TestSession session;
  session.agent.add("/etc/small", {.content = "hello"});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/etc/small", O_RDONLY);
  ASSERT_EQ(opened.error, 0);
  EXPECT_EQ(opened.reply.kind, FileKind::kCached);
  EXPECT_EQ(opened.reply.slot, local::kNoSlot);
  EXPECT_EQ(opened.reply.metadata.size, 5U);
  EXPECT_EQ(opened.reply.metadata.modification_ns, 1'700'000'000'123'456'789);
  EXPECT_EQ(read_range(opened.descriptor, 0, 100), "hello");
  EXPECT_EQ(hook.close(opened.reply.handle, false), 0);
  EXPECT_TRUE(eventually([&] { return session.agent.open_descriptors() == 0; }));
  EXPECT_EQ(session.agent.round_trips(), 1);
}

TEST(FilesOpen, DescriptorOfAReadOnlyFileIsReadOnly) {
  TestSession session;
  session.agent.add("/f", {.content = "x"});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/f", O_RDONLY);
  EXPECT_EQ(::fcntl(opened.descriptor.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
}

TEST(FilesOpen, MissingFileTakesOneRoundTrip) {
  TestSession session;
  FakeHook hook = session.connect();
  EXPECT_EQ(hook.open("/nothing", O_RDONLY).error, ENOENT);
  EXPECT_EQ(session.agent.round_trips(), 1);
  // The numbers that failed opens used up are counted: the next open gets its own file.
  session.agent.add("/some", {.content = "some"});
  EXPECT_EQ(read_range(hook.open("/some", O_RDONLY).descriptor, 0, 10), "some");
}

TEST(FilesOpen, ForeignAgentTakesTwoRoundTripsForReading) {
  TestSession session({.speaks_flight = false});
  session.agent.add("/f", {.content = "content"});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/f", O_RDONLY);
  ASSERT_EQ(opened.error, 0);
  EXPECT_EQ(read_range(opened.descriptor, 0, 100), "content");
  EXPECT_EQ(session.agent.round_trips(), 2);
}

TEST(FilesOpen, ForeignAgentTakesThreeRoundTripsForCreatingAnExistingFile) {
  TestSession session({.speaks_flight = false});
  session.agent.add("/f", {.content = "old", .mode = 0100600});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/f", O_WRONLY | O_CREAT | O_TRUNC, 0644);
  ASSERT_EQ(opened.error, 0);
  EXPECT_EQ(session.agent.round_trips(), 3);
  EXPECT_EQ(session.agent.content("/f"), "");
  EXPECT_EQ(hook.stat("/f").as<local::Metadata>().mode, 0100600U);
}

TEST(FilesOpen, CreatedFileGetsTheModeInOneRoundTrip) {
  for (const bool flight : {true, false}) {
    TestSession session({.speaks_flight = flight});
    FakeHook hook = session.connect();
    ASSERT_EQ(hook.open("/new", O_WRONLY | O_CREAT, 0640).error, 0);
    EXPECT_EQ(session.agent.round_trips(), flight ? 1 : 2);
    EXPECT_EQ(hook.stat("/new").as<local::Metadata>().mode, 0100640U);
  }
}

TEST(FilesOpen, ExistingFileKeepsItsMode) {
  TestSession session;
  session.agent.add("/f", {.content = "old", .mode = 0100600});
  FakeHook hook = session.connect();
  ASSERT_EQ(hook.open("/f", O_WRONLY | O_CREAT, 0644).error, 0);
  EXPECT_EQ(hook.stat("/f").as<local::Metadata>().mode, 0100600U);
  EXPECT_EQ(session.agent.content("/f"), "old");
}

TEST(FilesOpen, ExclusiveCreationOfAnExistingFileFails) {
  TestSession session;
  session.agent.add("/f", {.content = "old"});
  FakeHook hook = session.connect();
  EXPECT_EQ(hook.open("/f", O_WRONLY | O_CREAT | O_EXCL).error, EEXIST);
}

TEST(FilesOpen, LinkIsRefusedWithNoFollow) {
  TestSession session;
  session.agent.add("/link", {.content = "x", .mode = 0120777});
  FakeHook hook = session.connect();
  EXPECT_EQ(hook.open("/link", O_RDONLY | O_NOFOLLOW).error, ELOOP);
  EXPECT_EQ(hook.open("/link", O_WRONLY | O_TRUNC | O_NOFOLLOW).error, ELOOP);
  EXPECT_EQ(session.agent.content("/link"), "x");
  EXPECT_TRUE(eventually([&] { return session.agent.open_descriptors() == 0; }));
}

TEST(FilesOpen, DirectoryFlagOnAFileFails) {
  TestSession session;
  session.agent.add("/f", {.content = "x"});
  FakeHook hook = session.connect();
  EXPECT_EQ(hook.open("/f", O_RDONLY | O_DIRECTORY).error, ENOTDIR);
  EXPECT_TRUE(eventually([&] { return session.agent.open_descriptors() == 0; }));
}

TEST(FilesOpen, PathHandleHasMetadataOnly) {
  TestSession session;
  session.agent.add("/f", {.content = "x"});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/f", O_PATH);
  ASSERT_EQ(opened.error, 0);
  EXPECT_EQ(opened.reply.kind, FileKind::kPath);
  EXPECT_EQ(
      hook.call(MessageType::kRead, local::RangeRequest{opened.reply.handle, 0, 1, 0, 0}).error,
      EBADF);
  EXPECT_EQ(hook.call(MessageType::kStatHandle, local::HandleRequest{opened.reply.handle})
                .as<local::Metadata>()
                .size,
            1U);
}

TEST(FilesOpen, AppendAndTruncateTogetherEmptyTheFile) {
  TestSession session;
  session.agent.add("/log", {.content = "old"});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/log", O_WRONLY | O_CREAT | O_APPEND | O_TRUNC);
  ASSERT_EQ(opened.error, 0);
  EXPECT_EQ(session.agent.content("/log"), "");
}

TEST(FilesOpen, FileWithoutASizeIsReadToItsEnd) {
  TestSession session;
  std::string text;
  for (int i = 0; i < 3000; ++i) {
    text += "line " + std::to_string(i) + "\n";
  }
  session.agent.add("/proc/net/tcp", {.content = text, .shown_size = 0, .max_read = 4096});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/proc/net/tcp", O_RDONLY);
  ASSERT_EQ(opened.error, 0);
  EXPECT_EQ(read_range(opened.descriptor, 0, 1 << 20), text);
}

TEST(FilesOpen, PathsRelativeToADirectoryHandleAreJoined) {
  TestSession session;
  session.agent.add_directory("/dir");
  session.agent.add("/dir/f", {.content = "inside"});
  FakeHook hook = session.connect();
  const Opened directory = hook.open("/dir", O_RDONLY | O_DIRECTORY);
  ASSERT_EQ(directory.reply.kind, FileKind::kDirectory);
  const Opened file = hook.open("f", O_RDONLY, 0, directory.reply.handle);
  EXPECT_EQ(read_range(file.descriptor, 0, 10), "inside");
  EXPECT_EQ(hook.open("x", O_RDONLY, 0, file.reply.handle).error, ENOTDIR);
  EXPECT_EQ(hook.open("x", O_RDONLY, 0, 9999).error, EBADF);
}

TEST(FilesOpen, BufferOfZeroReadsByMessage) {
  TestSession session({}, [](SessionOptions& options) { options.readonly_file_buffer = 0; });
  session.agent.add("/f", {.content = "0123456789"});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/f", O_RDONLY);
  ASSERT_EQ(opened.reply.kind, FileKind::kDirect);
  const auto read = [&](std::uint64_t offset, std::uint64_t length) {
    return hook
        .call(MessageType::kRead, local::RangeRequest{opened.reply.handle, offset, length, 0, 0})
        .bytes;
  };
  EXPECT_EQ(read(local::kAtPosition, 4), "0123");
  EXPECT_EQ(read(local::kAtPosition, 4), "4567");
  EXPECT_EQ(read(1, 3), "123");
}

TEST(FilesOpen, NameThatIsNotUtf8FailsCleanly) {
  TestSession session;
  FakeHook hook = session.connect();
  EXPECT_EQ(hook.open("/bad\xFFname", O_RDONLY).error, EILSEQ);
  EXPECT_EQ(hook.stat("/bad\xFFname").error, EILSEQ);
  session.agent.add("/good", {.content = "good"});
  EXPECT_EQ(read_range(hook.open("/good", O_RDONLY).descriptor, 0, 10), "good");
}

TEST(FilesOpen, ThousandsOfFilesStayOpen) {
  TestSession session({.quiet_ms = 0});
  session.agent.add("/f", {.content = "content"});
  FakeHook hook = session.connect();
  std::vector<local::Handle> handles;
  for (int i = 0; i < 5000; ++i) {
    const Opened opened = hook.open("/f", O_RDONLY);
    ASSERT_EQ(opened.error, 0) << i;
    handles.push_back(opened.reply.handle);
  }
  EXPECT_EQ(session.agent.open_descriptors(), 5000U);
  for (const local::Handle handle : handles) {
    hook.close(handle, false);
  }
  EXPECT_TRUE(eventually([&] { return session.agent.open_descriptors() == 0; }));
}

TEST(FilesOpen, ListingAThousandEntriesAndTheirMetadataTakesFewRoundTrips) {
  TestSession session;
  session.agent.add_directory("/data");
  for (int i = 0; i < 1000; ++i) {
    session.agent.add("/data/file" + std::to_string(i), {.content = std::string(10, 'x')});
  }
  FakeHook hook = session.connect();
  EXPECT_EQ(hook.stat("/data").error, 0);
  const Opened directory = hook.open("/data", O_RDONLY | O_DIRECTORY);
  const Answer listed = hook.call(MessageType::kList, local::HandleRequest{directory.reply.handle});
  ASSERT_EQ(listed.error, 0);
  const auto range = listed.as<local::RangeReply>();
  const std::string records = read_range(directory.descriptor, 0, range.end);
  std::vector<std::string> names;
  for (std::size_t at = 0; at < records.size();) {
    std::uint16_t length = 0;
    std::memcpy(&length, records.data() + at + 16, sizeof length);
    std::int64_t next = 0;
    std::memcpy(&next, records.data() + at + 8, sizeof next);
    names.emplace_back(records.data() + at + 19);
    at += length;
    EXPECT_EQ(static_cast<std::size_t>(next), at);
  }
  ASSERT_EQ(names.size(), 1002U);
  EXPECT_EQ(names[0], ".");
  EXPECT_EQ(names[1], "..");
  // What was asked for ahead counts for a time; on a slow machine the last are asked for again.
  const auto begin = std::chrono::steady_clock::now();
  int round_trips = 0;
  const auto count_while_fresh = [&] {
    if (std::chrono::steady_clock::now() - begin <
        std::chrono::milliseconds(StatAhead::kAnswerIsFreshMs)) {
      round_trips = session.agent.round_trips();
    }
  };
  for (std::size_t i = 2; i < names.size(); ++i) {
    EXPECT_EQ(hook.stat("/data/" + names[i], AT_SYMLINK_NOFOLLOW).as<local::Metadata>().size, 10U);
    count_while_fresh();
  }
  hook.close(directory.reply.handle, false);
  count_while_fresh();
  EXPECT_GT(round_trips, 0);
  EXPECT_LE(round_trips, 6);
  EXPECT_TRUE(eventually([&] { return session.agent.open_descriptors() == 0; }));
}

TEST(FilesOpen, MetadataAskedForAheadIsUsedOnceAndDroppedByChanges) {
  TestSession session;
  session.agent.add_directory("/d");
  session.agent.add("/d/a", {.content = "1"});
  session.agent.add("/d/b", {.content = "1"});
  session.agent.add("/d/c", {.content = "1"});
  FakeHook hook = session.connect();
  const auto list = [&] {
    const Opened directory = hook.open("/d", O_RDONLY | O_DIRECTORY);
    hook.call(MessageType::kList, local::HandleRequest{directory.reply.handle});
    hook.close(directory.reply.handle, false);
  };
  list();
  EXPECT_EQ(hook.stat("/d/a").as<local::Metadata>().size, 1U);
  session.agent.add("/d/a", {.content = "22"});
  EXPECT_EQ(hook.stat("/d/a").as<local::Metadata>().size, 2U) << "asked for ahead is used once";
  local::PathRequest truncation{};
  truncation.first_length = 4;
  truncation.length = 7;
  EXPECT_EQ(hook.call(MessageType::kTruncatePath, truncation, "/d/b").error, 0);
  EXPECT_EQ(hook.stat("/d/b").as<local::Metadata>().size, 7U) << "a change drops what was asked";
}

}  // namespace
}  // namespace mirrord::intproxy::test
