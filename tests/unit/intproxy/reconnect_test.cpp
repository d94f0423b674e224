// tests/unit/intproxy/reconnect_test.cpp — sessions whose agent goes and comes back.
#include "applets/intproxy/reconnect.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "applets/intproxy/remote_descriptors.h"
#include "tests/unit/intproxy/fake_hook.h"

namespace mirrord::intproxy::test {
namespace {

using local::MessageType;

// With an agent of ours, and with one that does not number descriptors in order.
class Reconnect : public ::testing::TestWithParam<bool> {
 protected:
  static FakeAgent::Options listening() {
    FakeAgent::Options options;
    options.speaks_flight = GetParam();
    options.listens = true;
    return options;
  }
  static std::string numbered(std::size_t size) {
    std::string content;
    for (std::size_t i = 0; content.size() < size; ++i) {
      content += std::to_string(i) + " ";
    }
    content.resize(size);
    return content;
  }
};

INSTANTIATE_TEST_SUITE_P(Agents, Reconnect, ::testing::Bool());

TEST_P(Reconnect, RepeatsWhatChangesNothing) {
  for (const MessageType type :
       {MessageType::kStat, MessageType::kAccess, MessageType::kHostName}) {
    for (const std::size_t request : {1U, 2U}) {
      TestSession session(listening());
      session.agent.add("/f", {.content = "x"});
      session.agent.add("/etc/hostname", {.content = "pod-1\n"});
      FakeHook hook = session.connect();
      local::PathRequest path{};
      path.first_length = 2;
      session.agent.die_at(request);
      const Answer answer = hook.call(type, FakeHook::bytes_of(path) + "/f");
      ASSERT_TRUE(answer.has_come) << static_cast<int>(type);
      EXPECT_EQ(answer.error, 0) << static_cast<int>(type) << " " << request;
      EXPECT_EQ(hook.stat("/f").error, 0);
      EXPECT_EQ(session.agent.clients(), 2);
      EXPECT_TRUE(eventually([&] { return session.agent.open_descriptors() == 0; }));
    }
  }
}

TEST_P(Reconnect, FailsWhatMayHaveBeenCarriedOut) {
  for (const MessageType type : {MessageType::kMakeDir, MessageType::kUnlink,
                                 MessageType::kSetModePath, MessageType::kTruncatePath}) {
    TestSession session(listening());
    session.agent.add("/f", {.content = "x"});
    FakeHook hook = session.connect();
    local::PathRequest path{};
    path.first_length = 2;
    // Without flight the file is opened first, for reading, and that may be repeated.
    const bool opens_first = !GetParam() && type == MessageType::kSetModePath;
    session.agent.die_at(opens_first ? 2 : 1);
    const Answer answer = hook.call(type, FakeHook::bytes_of(path) + "/f");
    ASSERT_TRUE(answer.has_come) << static_cast<int>(type);
    EXPECT_EQ(answer.error, EIO) << static_cast<int>(type);
    EXPECT_EQ(hook.stat("/f").error, 0);
  }
}

TEST_P(Reconnect, GoesOnInTheMiddleOfAFile) {
  const std::string content = numbered(5 << 20);
  TestSession session(listening());
  session.agent.add("/big", {.content = content});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/big", O_RDONLY);
  ASSERT_EQ(opened.error, 0);
  for (std::uint64_t at = 0; at < content.size(); at += 500'000) {
    session.agent.die_at(2);
    const Answer answer = hook.fetch(opened.reply.handle, at, 300'000);
    ASSERT_EQ(answer.error, 0) << at;
    const auto range = answer.as<local::RangeReply>();
    ASSERT_GE(range.end, std::min<std::uint64_t>(at + 300'000, content.size()));
    EXPECT_EQ(read_range(opened.descriptor, at, 300'000), content.substr(at, 300'000)) << at;
  }
  EXPECT_GT(session.agent.clients(), 3);
  hook.close(opened.reply.handle, false);
  EXPECT_EQ(hook.stat("/big").error, 0);
  EXPECT_TRUE(eventually([&] { return session.agent.open_descriptors() == 0; }));
}

TEST_P(Reconnect, KeepsThePositionOfReadsByMessage) {
  TestSession session(listening(),
                      [](SessionOptions& options) { options.readonly_file_buffer = 0; });
  session.agent.add("/f", {.content = "0123456789abcdef"});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/f", O_RDONLY);
  const local::RangeRequest next{opened.reply.handle, local::kAtPosition, 4, 0, 0};
  EXPECT_EQ(hook.call(MessageType::kRead, next).bytes, "0123");
  session.agent.die();
  EXPECT_EQ(hook.call(MessageType::kRead, next).bytes, "4567");
  session.agent.die_at(1);
  EXPECT_EQ(hook.call(MessageType::kRead, next).bytes, "89ab");
  EXPECT_EQ(session.agent.clients(), 3);
}

TEST_P(Reconnect, RefusesToMixContents) {
  const std::string content = numbered(1 << 20);
  TestSession session(listening());
  session.agent.add("/big", {.content = content});
  session.agent.add("/small", {.content = "small"});
  FakeHook hook = session.connect();
  const Opened big = hook.open("/big", O_RDONLY);
  const Opened small = hook.open("/small", O_RDONLY);
  session.agent.add("/big", {.content = content});  // another inode
  session.agent.add("/small", {.content = "other"});
  session.agent.die();
  EXPECT_EQ(hook.fetch(big.reply.handle, 900'000, 1000).error, EIO);
  EXPECT_EQ(read_range(small.descriptor, 0, 10), "small") << "it was here as a whole";
  const Opened again = hook.open("/big", O_RDONLY);
  EXPECT_EQ(hook.fetch(again.reply.handle, 900'000, 1000).error, 0);
}

TEST_P(Reconnect, FilesThatAreGoneFail) {
  TestSession session(listening());
  session.agent.add("/big", {.content = numbered(1 << 20)});
  FakeHook hook = session.connect();
  const Opened big = hook.open("/big", O_RDONLY);
  {
    const auto guard = session.agent.lock();
    session.agent.file_unlocked("/big").mode = 0040755;  // a directory in its place
  }
  session.agent.die();
  EXPECT_EQ(hook.fetch(big.reply.handle, 900'000, 1000).error, EIO);
}

TEST_P(Reconnect, FilesOpenForWritingFailAndTellIt) {
  TestSession session(listening());
  session.agent.add("/f", {.content = "0123456789"});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/f", O_RDWR);
  session.agent.die();
  EXPECT_EQ(hook.stat("/f").error, 0);
  const local::RangeRequest range{opened.reply.handle, 0, 4, 0, 0};
  EXPECT_EQ(hook.call(MessageType::kRead, range).error, EIO);
  EXPECT_EQ(hook.call(MessageType::kWrite, FakeHook::bytes_of(range) + "ABCD").error, EIO);
  EXPECT_EQ(session.agent.content("/f"), "0123456789");
  hook.close(opened.reply.handle, true);
  const Opened again = hook.open("/f", O_RDWR);
  EXPECT_EQ(
      hook.call(MessageType::kRead, local::RangeRequest{again.reply.handle, 0, 4, 0, 0}).bytes,
      "0123");
}

TEST_P(Reconnect, AWriteThatWasAcknowledgedIsToldWhenItIsLost) {
  TestSession session(listening());
  session.agent.add("/f", {.content = "0123456789"});
  FakeHook hook = session.connect();
  const Opened opened = hook.open("/f", O_RDWR);
  session.agent.die_at(1);
  const local::RangeRequest range{opened.reply.handle, 0, 4, 0, 0};
  EXPECT_EQ(hook.call(MessageType::kWrite, FakeHook::bytes_of(range) + "ABCD").error, 0);
  EXPECT_EQ(hook.close(opened.reply.handle, true), EIO);
}

TEST_P(Reconnect, AListingBeginsAgain) {
  TestSession session(listening());
  session.agent.add_directory("/d");
  for (int i = 0; i < 20; ++i) {
    session.agent.add("/d/" + std::to_string(i), {});
  }
  FakeHook hook = session.connect();
  const Opened directory = hook.open("/d", O_RDONLY | O_DIRECTORY);
  const local::HandleRequest request{directory.reply.handle};
  const auto whole = hook.call(MessageType::kList, request).as<local::RangeReply>();
  EXPECT_GT(whole.end, 20 * 24U);
  for (const std::size_t request_number : {1U, 2U, 3U, 4U}) {
    session.agent.die_at(request_number);
    const Answer answer = hook.call(MessageType::kList, request);
    ASSERT_EQ(answer.error, 0) << request_number;
    EXPECT_EQ(answer.as<local::RangeReply>().end, whole.end) << request_number;
  }
  EXPECT_EQ(session.agent.clients(), 5);
}

TEST_P(Reconnect, ManyFilesAndBreaksLeaveNothingOpen) {
  TestSession session(listening());
  std::vector<Opened> files;
  for (int i = 0; i < 50; ++i) {
    session.agent.add("/f" + std::to_string(i), {.content = numbered(200'000)});
  }
  FakeHook hook = session.connect();
  for (int round = 0; round < 5; ++round) {
    session.agent.die_at(15);
    for (int i = 0; i < 10; ++i) {
      files.push_back(hook.open("/f" + std::to_string(round * 10 + i), O_RDONLY));
      ASSERT_EQ(files.back().error, 0) << round << " " << i;
    }
  }
  for (const Opened& file : files) {
    EXPECT_EQ(hook.fetch(file.reply.handle, 150'000, 1000).error, 0);
    EXPECT_EQ(read_range(file.descriptor, 150'000, 1000), numbered(200'000).substr(150'000, 1000));
    hook.close(file.reply.handle, false);
  }
  EXPECT_EQ(hook.stat("/f1").error, 0);
  EXPECT_TRUE(eventually([&] { return session.agent.open_descriptors() == 0; }));
}

TEST_P(Reconnect, ASilentAgentIsLeft) {
  TestSession session(listening(), [](SessionOptions& options) {
    options.ping_interval = std::chrono::milliseconds(100);
    options.reconnect_timeout = std::chrono::milliseconds(1000);
  });
  FakeHook hook = session.connect();
  session.agent.answer_nothing();
  EXPECT_EQ(hook.stat("/").error, EIO) << "it stays silent on the next stream too";
  EXPECT_TRUE(session.wait_for_end());
}

TEST_P(Reconnect, TheEndComesAfterTheTimeLimit) {
  FakeAgent::Options options = listening();
  TestSession session(options, [](SessionOptions& session_options) {
    session_options.reconnect_timeout = std::chrono::milliseconds(300);
  });
  FakeHook hook = session.connect();
  EXPECT_EQ(hook.stat("/").error, 0);
  session.agent.stop_listening();
  session.agent.die();
  EXPECT_EQ(hook.stat("/").error, EIO);
  EXPECT_TRUE(session.wait_for_end());
  EXPECT_FALSE(session.directory_exists());
}

TEST_P(Reconnect, AnAgentOfAnotherVersionIsRefused) {
  TestSession session(listening());
  FakeHook hook = session.connect();
  EXPECT_EQ(hook.stat("/").error, 0);
  session.agent.speak_version("1.20.0");
  session.agent.die();
  EXPECT_TRUE(session.wait_for_end());
}

TEST_P(Reconnect, AnAgentThatSaysWhyItEndsIsTheEnd) {
  TestSession session(listening());
  FakeHook hook = session.connect();
  EXPECT_EQ(hook.stat("/").error, 0);
  session.agent.say_close("process 1 has ended");
  EXPECT_TRUE(session.wait_for_end());
  EXPECT_EQ(session.agent.clients(), 1);
}

// ---- the connector's own wishes

class ScriptedConnector final : public AgentConnector {
 public:
  explicit ScriptedConnector(net::Loop& loop, std::vector<FakeAgent*> agents)
      : loop_(loop), agents_(std::move(agents)) {}
  void reopen(std::chrono::milliseconds, Done done) override {
    ++calls;
    if (next_ == agents_.size()) {
      loop_.defer([done = std::move(done)]() mutable {
        done(fail(ErrorCode::kNotFound, "find the target: it is gone"));
      });
      return;
    }
    FakeAgent* agent = agents_[next_++];
    loop_.defer([agent, done = std::move(done)]() mutable {
      done(ReopenedStream{agent->take_client_end(), "the next agent", "the session has moved"});
    });
  }
  void accepted() override { ++accepted_calls; }
  void set_events(Events events) override { events_ = std::move(events); }
  Events& events() { return events_; }
  int calls = 0;
  int accepted_calls = 0;

 private:
  net::Loop& loop_;
  std::vector<FakeAgent*> agents_;
  std::size_t next_ = 0;
  Events events_;
};

TEST(Reconnector, MovesWhenTheSourceWantsItAndEndsWhenTheSourceSaysSo) {
  FakeAgent first;
  FakeAgent second;
  second.add("/only-there", {.content = "x"});
  net::Loop loop;
  AgentLink link(loop, first.take_client_end(), "the first agent", {});
  auto connector = std::make_unique<ScriptedConnector>(loop, std::vector<FakeAgent*>{&second});
  ScriptedConnector& script = *connector;
  std::vector<std::string> told;
  Reconnector reconnector(loop, link, std::move(connector), std::chrono::milliseconds(5000),
                          {.log = [](const std::string&) {},
                           .tell = [&](const std::string& line) { told.push_back(line); }});
  link.allow_resume();
  link.start({.ready = [&] { loop.stop(); },
              .lost = [&](const Error&) { loop.stop(); },
              .log = {},
              .interrupted = [&](const Error& why) { reconnector.broken(why); },
              .restored =
                  [&](const AgentLink::Restored&) {
                    reconnector.restored();
                    told.push_back(reconnector.take_notice());
                    loop.stop();
                  }});
  loop.run();
  ASSERT_TRUE(link.is_ready());
  script.events().notice("the target was redeployed");
  script.events().leave("the target was redeployed");
  EXPECT_FALSE(link.is_ready());
  int outcome = -1;
  link.request<"Xstat">(
      proto::FileRequest::make<"Xstat">(proto::Path("/only-there"), std::nullopt, true),
      [&](const proto::Res<proto::XstatResponse>& reply) {
        outcome = reply ? 0 : errno_of(reply.error());
        loop.stop();
      });
  while (outcome < 0) {
    loop.run();
  }
  EXPECT_EQ(outcome, 0) << "the request waited for the second agent";
  EXPECT_EQ(told, (std::vector<std::string>{"the target was redeployed", "the session has moved"}));
  EXPECT_EQ(script.accepted_calls, 1);
  second.die();
  while (!link.is_lost()) {
    loop.run();
  }
  EXPECT_EQ(script.calls, 2) << "a final error is not asked again";
  EXPECT_NE(told.back().find("it is gone"), std::string::npos) << told.back();
}

// ---- numbers

TEST(RemoteDescriptors, FirstConnectionHasTheAgentsNumbers) {
  RemoteDescriptors descriptors;
  EXPECT_EQ(descriptors.reserve(), 0U);
  EXPECT_EQ(descriptors.reserve(), 1U);
  EXPECT_EQ(descriptors.at_agent(7), 7U);
  EXPECT_EQ(descriptors.from_agent(3), 3U);
}

TEST(RemoteDescriptors, NumbersAreNeverUsedTwice) {
  RemoteDescriptors descriptors;
  for (int i = 0; i < 3; ++i) {
    descriptors.sent(descriptors.take_reserved());
  }
  descriptors.restart();
  EXPECT_FALSE(descriptors.at_agent(1));
  descriptors.count_open();
  descriptors.reopened(1, 0);
  const auto held = descriptors.take_reserved();
  EXPECT_EQ(held, 3U);
  descriptors.sent(held);
  descriptors.settle(true);
  EXPECT_EQ(descriptors.at_agent(1), 0U);
  EXPECT_EQ(descriptors.at_agent(3), 1U);
  EXPECT_FALSE(descriptors.at_agent(0));
  const auto fresh = descriptors.take_reserved();
  descriptors.sent(fresh);
  EXPECT_EQ(fresh, 4U);
  EXPECT_EQ(descriptors.at_agent(fresh), 2U);
}

TEST(RemoteDescriptors, ContentsAreComparedAcrossMachines) {
  proto::MetadataInternal before{};
  before.device_id = 1;
  before.inode = 5;
  before.mode = 0100644;
  before.size = 10;
  before.modification_time = 77;
  proto::MetadataInternal now = before;
  EXPECT_TRUE(is_same_content(before, now));
  now.inode = 6;
  EXPECT_FALSE(is_same_content(before, now)) << "replaced by a file that looks the same";
  now.device_id = 2;
  EXPECT_TRUE(is_same_content(before, now)) << "the same file of the same image elsewhere";
  now.modification_time = 78;
  EXPECT_FALSE(is_same_content(before, now));
}

}  // namespace
}  // namespace mirrord::intproxy::test
