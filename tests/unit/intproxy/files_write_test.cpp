// tests/unit/intproxy/files_write_test.cpp — streams, write-behind, their errors and their order.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "tests/unit/intproxy/fake_hook.h"

namespace mirrord::intproxy::test {
namespace {

using local::FileKind;
using local::MessageType;

void write_all(const Fd& descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor.get(), bytes.data(), bytes.size());
    ASSERT_GT(count, 0);
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

// Every write answers with this error.
FakeAgent::Interceptor failing_writes(int error_number) {
  return [=](const proto::FileRequest& request) -> std::optional<proto::FileResponse> {
    if (!request.is<"WriteLimited">()) {
      return std::nullopt;
    }
    auto response = proto::FileResponse::make<"WriteLimited">();
    response.get<"WriteLimited">() = std::unexpected(proto::from_errno(error_number));
    return response;
  };
}

TEST(FilesWrite, BytesOfAStreamArriveInOrder) {
  TestSession session;
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/out", O_WRONLY | O_CREAT | O_TRUNC);
  ASSERT_EQ(opened.reply.kind, FileKind::kStream);
  std::string expected;
  for (int i = 0; i < 20'000; ++i) {
    const std::string line = "line " + std::to_string(i) + "\n";
    write_all(opened.descriptor, line);
    expected += line;
  }
  EXPECT_EQ(hook.close(opened.reply.handle, true), 0);
  EXPECT_TRUE(session.agent.content("/out") == expected);
}

TEST(FilesWrite, LargeStreamArrivesWhole) {
  TestSession session({.quiet_ms = 0});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/out", O_WRONLY | O_CREAT);
  const std::string block(1 << 20, 'b');
  for (int i = 0; i < 40; ++i) {
    write_all(opened.descriptor, block);
  }
  EXPECT_EQ(hook.close(opened.reply.handle, true), 0);
  EXPECT_EQ(session.agent.content("/out").size(), 40U << 20);
}

TEST(FilesWrite, StreamIsDrainedBeforeALaterRequestOfAnotherProcess) {
  TestSession session;
  FakeHook writer = session.connect(1);
  FakeHook reader = session.connect(2);
  const Opened opened = writer.open("/out", O_WRONLY | O_CREAT);
  for (int i = 1; i <= 50; ++i) {
    write_all(opened.descriptor, "x");
    EXPECT_EQ(reader.stat("/out").as<local::Metadata>().size, static_cast<std::uint64_t>(i));
  }
}

TEST(FilesWrite, AppendingGoesToTheEnd) {
  TestSession session;
  session.agent.add("/log", {.content = "first\n"});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/log", O_WRONLY | O_APPEND);
  write_all(opened.descriptor, "second\n");
  EXPECT_EQ(hook.close(opened.reply.handle, true), 0);
  EXPECT_EQ(session.agent.content("/log"), "first\nsecond\n");
}

TEST(FilesWrite, SeekMovesAStream) {
  TestSession session;
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/out", O_WRONLY | O_CREAT);
  write_all(opened.descriptor, "0123456789");
  const auto seek = [&](std::int64_t offset, std::uint32_t whence) {
    return hook
        .call(MessageType::kSeek,
              local::RangeRequest{opened.reply.handle, static_cast<std::uint64_t>(offset), 0,
                                  whence, 0})
        .as<local::CountReply>()
        .count;
  };
  EXPECT_EQ(seek(0, SEEK_CUR), 10U);
  EXPECT_EQ(seek(2, SEEK_SET), 2U);
  write_all(opened.descriptor, "ab");
  EXPECT_EQ(seek(0, SEEK_END), 10U);
  write_all(opened.descriptor, "!");
  EXPECT_EQ(hook.close(opened.reply.handle, true), 0);
  EXPECT_EQ(session.agent.content("/out"), "01ab456789!");
}

TEST(FilesWrite, ErrorComesWithTheCloseAndStandsInTheSlot) {
  TestSession session;
  session.agent.intercept(failing_writes(ENOSPC));
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/out", O_WRONLY | O_CREAT);
  write_all(opened.descriptor, "bytes");
  ASSERT_NE(opened.reply.slot, local::kNoSlot);
  local::FileSlot& slot = session.slots()[opened.reply.slot];
  EXPECT_TRUE(eventually([&] {
    return (std::atomic_ref(slot.flags).load() & local::kSlotWriteError) != 0 &&
           std::atomic_ref(slot.error).load() == ENOSPC;
  }));
  EXPECT_EQ(hook.close(opened.reply.handle, true), ENOSPC);
}

TEST(FilesWrite, ErrorComesWithSync) {
  TestSession session;
  session.agent.intercept(failing_writes(EIO));
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/out", O_WRONLY | O_CREAT);
  write_all(opened.descriptor, "bytes");
  const local::HandleRequest request{opened.reply.handle};
  EXPECT_EQ(hook.call(MessageType::kSync, request).error, EIO);
  EXPECT_EQ(hook.call(MessageType::kSync, request).error, 0) << "it is told once";
}

TEST(FilesWrite, ErrorOfADirectWriteComesWithTheNextOne) {
  TestSession session;
  session.agent.add("/f", {.content = "0123456789"});
  session.agent.intercept(failing_writes(EDQUOT));
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/f", O_RDWR);
  const local::RangeRequest range{opened.reply.handle, 0, 1, 0, 0};
  EXPECT_EQ(hook.call(MessageType::kWrite, range, "a").error, 0);
  EXPECT_TRUE(
      eventually([&] { return hook.call(MessageType::kWrite, range, "a").error == EDQUOT; }));
}

TEST(FilesWrite, ShortWritesAreContinued) {
  TestSession session({.speaks_flight = false});
  session.agent.add("/out", {.content = "", .max_read = 1000});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/out", O_WRONLY);
  std::string expected;
  for (int i = 0; i < 2000; ++i) {
    expected += std::to_string(i) + ",";
  }
  write_all(opened.descriptor, expected);
  EXPECT_EQ(hook.close(opened.reply.handle, true), 0);
  EXPECT_EQ(session.agent.content("/out"), expected);
}

TEST(FilesWrite, DirectFileReadsAndWritesAtOnePosition) {
  TestSession session;
  session.agent.add("/f", {.content = "0123456789"});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/f", O_RDWR);
  const auto range = [&](std::uint64_t offset, std::uint64_t length) {
    return local::RangeRequest{opened.reply.handle, offset, length, 0, 0};
  };
  EXPECT_EQ(hook.call(MessageType::kRead, range(local::kAtPosition, 2)).bytes, "01");
  EXPECT_EQ(hook.call(MessageType::kWrite, range(local::kAtPosition, 2), "ab")
                .as<local::CountReply>()
                .count,
            2U);
  EXPECT_EQ(hook.call(MessageType::kRead, range(local::kAtPosition, 2)).bytes, "45");
  EXPECT_EQ(hook.call(MessageType::kWrite, range(9, 1), "Z").error, 0);
  EXPECT_EQ(hook.call(MessageType::kRead, range(8, 5)).bytes, "8Z");
  EXPECT_EQ(hook.call(MessageType::kTruncate, range(4, 0)).error, 0);
  EXPECT_EQ(hook.close(opened.reply.handle, true), 0);
  EXPECT_EQ(session.agent.content("/f"), "01ab");
}

TEST(FilesWrite, WhatAnEndedProgramWroteStillArrives) {
  TestSession session({.quiet_ms = 30});
  {
    FakeHook hook = session.connect();
    const Opened opened = hook.open("/out", O_WRONLY | O_CREAT);
    write_all(opened.descriptor, "last words");
    // Ends without closing: both descriptors go at once.
  }
  EXPECT_TRUE(session.wait_for_end());
  EXPECT_EQ(session.agent.content("/out"), "last words");
}

TEST(FilesWrite, StreamOutlivesItsHandleWhileSomebodyHoldsItsEnd) {
  TestSession session;
  FakeHook hook = session.connect();
  Opened opened = hook.open("/out", O_WRONLY | O_CREAT);
  const Fd child_output(::dup(opened.descriptor.get()));  // a child without the hook
  opened.descriptor.reset();
  EXPECT_EQ(hook.close(opened.reply.handle, true), 0);
  write_all(child_output, "from the child");
  EXPECT_EQ(hook.stat("/out").as<local::Metadata>().size, 14U);
}

TEST(FilesWrite, SlowAgentHoldsTheProgramBack) {
  TestSession session;
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/out", O_WRONLY | O_CREAT);
  session.agent.answer_nothing();
  ::fcntl(opened.descriptor.get(), F_SETFL, O_NONBLOCK);
  const std::string block(1 << 16, 'b');
  std::size_t taken = 0;
  int full = 0;
  while (full < 40 && taken < (200U << 20)) {
    const ssize_t count = ::write(opened.descriptor.get(), block.data(), block.size());
    if (count > 0) {
      taken += static_cast<std::size_t>(count);
      full = 0;
    } else {
      ++full;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  EXPECT_LT(taken, 32U << 20) << "the intproxy must not take what it cannot get rid of";
}

}  // namespace
}  // namespace mirrord::intproxy::test
