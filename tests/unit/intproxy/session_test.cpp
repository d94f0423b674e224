// tests/unit/intproxy/session_test.cpp — processes, fork, exec, the end; a lost agent; hostile peers.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>

#include "applets/intproxy/stale.h"
#include "tests/unit/intproxy/fake_hook.h"

namespace mirrord::intproxy::test {
namespace {

using local::MessageType;

TEST(Session, EndsAndRemovesItsDirectoryAfterTheLastConnection) {
  TestSession session;
  {
    FakeHook hook = session.connect();
    EXPECT_EQ(hook.stat("/").error, 0);
    EXPECT_TRUE(session.directory_exists());
  }
  EXPECT_TRUE(session.wait_for_end());
  EXPECT_FALSE(session.directory_exists());
}

TEST(Session, EndsSoonWhenTheRootProcessAndAllOthersAreGone) {
  const pid_t root = ::fork();
  if (root == 0) {
    ::pause();
    ::_exit(0);
  }
  TestSession session({}, [&](SessionOptions& options) {
    options.root_pid = root;
    options.idle_timeout = std::chrono::milliseconds(60'000);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_TRUE(session.directory_exists()) << "the root process lives";
  ::kill(root, SIGKILL);
  ::waitpid(root, nullptr, 0);
  EXPECT_TRUE(session.wait_for_end());
}

TEST(Session, ForkedChildHasCopiesOfTheHandles) {
  TestSession session;
  session.agent.add("/f", {.content = "0123456789"});
  FakeHook parent = session.connect(1);
  const Opened opened = parent.open("/f", O_RDWR);
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
  FakeHook child{Fd(ends[0])};
  const Fd theirs(ends[1]);
  parent.send(MessageType::kFork, FakeHook::bytes_of(local::Fork{2}), theirs.get());
  child.hello(2);
  EXPECT_EQ(parent.close(opened.reply.handle, true), 0);
  const local::RangeRequest range{opened.reply.handle, 2, 3, 0, 0};
  EXPECT_EQ(parent.call(MessageType::kRead, range).error, EBADF);
  EXPECT_EQ(child.call(MessageType::kRead, range).bytes, "234");
  EXPECT_EQ(child.close(opened.reply.handle, true), 0);
  EXPECT_TRUE(eventually([&] { return session.agent.open_descriptors() == 0; }));
}

TEST(Session, NextImageTakesTheHandlesOver) {
  TestSession session;
  session.agent.add("/f", {.content = "0123456789"});
  FakeHook before = session.connect(10);
  const Opened opened = before.open("/f", O_RDWR);
  before.send(MessageType::kExec, FakeHook::bytes_of(local::Exec{11}));
  before.disconnect();
  FakeHook after = session.connect(11, 10);
  const local::RangeRequest range{opened.reply.handle, 0, 4, 0, 0};
  EXPECT_EQ(after.call(MessageType::kRead, range).bytes, "0123");
  EXPECT_EQ(after.close(opened.reply.handle, true), 0);
  EXPECT_TRUE(eventually([&] { return session.agent.open_descriptors() == 0; }));
}

TEST(Session, KilledProcessLetsItsFilesGo) {
  std::array<int, 2> begin{};
  std::array<int, 2> done{};
  ASSERT_EQ(::pipe(begin.data()), 0);
  ASSERT_EQ(::pipe(done.data()), 0);
  // Before there are threads: a child of several may find the allocator locked for good.
  const pid_t child = ::fork();
  if (child == 0) {
    std::array<char, PATH_MAX> directory{};
    if (::read(begin[0], directory.data(), directory.size() - 1) <= 0) {
      ::_exit(1);
    }
    FakeHook hook(directory.data(), 2);
    const Opened opened = hook.open("/f", O_RDWR);
    char byte = opened.error == 0 ? 'y' : 'n';
    [[maybe_unused]] const ssize_t written = ::write(done[1], &byte, 1);
    ::pause();
    ::_exit(0);
  }
  TestSession session;
  session.agent.add("/f", {.content = "0123456789"});
  FakeHook keeper = session.connect(1);
  const std::string directory = session.directory();
  ASSERT_EQ(::write(begin[1], directory.data(), directory.size()),
            static_cast<ssize_t>(directory.size()));
  char byte = 0;
  ASSERT_EQ(::read(done[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  EXPECT_EQ(session.agent.open_descriptors(), 1U);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(eventually([&] { return session.agent.open_descriptors() == 0; }));
  EXPECT_EQ(keeper.stat("/f").error, 0);
}

TEST(Session, HandleOfAnotherProcessIsRefused) {
  TestSession session;
  session.agent.add("/f", {.content = "secret"});
  FakeHook owner = session.connect(1);
  FakeHook other = session.connect(2);
  const Opened opened = owner.open("/f", O_RDWR);
  EXPECT_EQ(
      other.call(MessageType::kRead, local::RangeRequest{opened.reply.handle, 0, 4, 0, 0}).error,
      EBADF);
}

// ---- a lost agent

struct Loss {
  MessageType type;
  std::string body;
};

TEST(AgentLoss, EveryPendingCallGetsAnError) {
  local::PathRequest path{};
  path.first_length = 2;
  const std::string by_path = FakeHook::bytes_of(path) + "/f";
  for (const MessageType type :
       {MessageType::kStat, MessageType::kAccess, MessageType::kReadLink, MessageType::kMakeDir,
        MessageType::kUnlink, MessageType::kStatFs, MessageType::kTruncatePath,
        MessageType::kSetModePath, MessageType::kSetOwnerPath, MessageType::kSetTimesPath,
        MessageType::kHostName}) {
    TestSession session;
    session.agent.add("/f", {.content = "x"});
    FakeHook hook = session.connect();
    session.agent.die_at(1);
    const Answer answer = hook.call(type, by_path);
    ASSERT_TRUE(answer.has_come) << static_cast<int>(type);
    EXPECT_EQ(answer.error, EIO) << static_cast<int>(type);
  }
}

TEST(AgentLoss, CallsOnHandlesGetAnError) {
  for (const MessageType type :
       {MessageType::kRead, MessageType::kWrite, MessageType::kSeek, MessageType::kTruncate,
        MessageType::kStatHandle, MessageType::kStatFsHandle, MessageType::kSetMode}) {
    TestSession session;
    session.agent.add("/f", {.content = "0123456789"});
    FakeHook hook = session.connect();
    const Opened opened = hook.open("/f", O_RDWR);
    session.agent.die_at(1);
    std::string body = FakeHook::bytes_of(local::RangeRequest{opened.reply.handle, 0, 4, 0, 0});
    body.resize(std::max(body.size(), sizeof(local::AttributeRequest)));
    const Answer answer = hook.call(type, body);
    ASSERT_TRUE(answer.has_come) << static_cast<int>(type);
    if (type == MessageType::kWrite) {  // acknowledged before: the error comes at the close
      EXPECT_NE(hook.close(opened.reply.handle, true), 0);
    } else {
      EXPECT_EQ(answer.error, EIO) << static_cast<int>(type);
    }
  }
}

TEST(AgentLoss, LostWhileAFileIsReadOrListed) {
  TestSession session;
  session.agent.add_directory("/d");
  session.agent.add("/big", {.content = std::string(1 << 20, 'x')});
  FakeHook hook = session.connect();
  const Opened file = hook.open("/big", O_RDONLY);
  const Opened directory = hook.open("/d", O_RDONLY | O_DIRECTORY);
  session.agent.die_at(1);
  EXPECT_EQ(hook.fetch(file.reply.handle, 500'000, 1000).error, EIO);
  EXPECT_EQ(hook.call(MessageType::kList, local::HandleRequest{directory.reply.handle}).error, EIO);
}

TEST(AgentLoss, EndsTheSessionAndItsConnections) {
  TestSession session;
  FakeHook hook = session.connect();
  EXPECT_EQ(hook.stat("/").error, 0);
  session.agent.die();
  EXPECT_TRUE(session.wait_for_end());
  EXPECT_FALSE(hook.stat("/").has_come);
  EXPECT_FALSE(session.directory_exists());
}

TEST(Session, RemovesWhatAKilledIntproxyLeftBehind) {
  std::string parent = "/tmp/mirrord-test-XXXXXX";
  ASSERT_NE(::mkdtemp(parent.data()), nullptr);
  const std::string dead = parent + "/dead";
  const std::string starting = parent + "/5a17c0ffee00";
  const std::string forgotten = parent + "/5a17c0ffee01";  // never had an intproxy, ten minutes ago
  for (const std::string& path : {dead, starting, forgotten})
    ::mkdir(path.c_str(), 0700);
  const timespec long_ago[2] = {{.tv_sec = ::time(nullptr) - 700},
                                {.tv_sec = ::time(nullptr) - 700}};
  ASSERT_EQ(::utimensat(AT_FDCWD, forgotten.c_str(), long_ago, 0), 0);
  {
    const Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = dead + "/" + local::kSocketFile;
    std::memcpy(address.sun_path, path.data(), path.size());
    ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  remove_stale_sessions(parent + "/own");
  EXPECT_NE(::access(dead.c_str(), F_OK), 0);
  EXPECT_NE(::access(forgotten.c_str(), F_OK), 0);
  EXPECT_EQ(::access(starting.c_str(), F_OK), 0);
  ::rmdir(starting.c_str());
  ::rmdir(parent.c_str());
}

TEST(AgentLoss, CorruptBytesEndTheSessionsAgent) {
  TestSession session;
  FakeHook hook = session.connect();
  EXPECT_EQ(hook.stat("/").error, 0);
  session.agent.send_garbage();
  EXPECT_TRUE(eventually([&] {
    const Answer answer = hook.stat("/");
    return !answer.has_come || answer.error == EIO;
  }));
}

TEST(AgentLoss, AnswerOfAnotherKindEndsTheSessionsAgent) {
  TestSession session;
  session.agent.intercept([](const proto::FileRequest&) -> std::optional<proto::FileResponse> {
    auto response = proto::FileResponse::make<"Seek">();
    response.get<"Seek">() = proto::SeekFileResponse{1};
    return response;
  });
  FakeHook hook = session.connect();
  EXPECT_EQ(hook.stat("/").error, EIO);
}

TEST(AgentLoss, SilentAgentIsNoticed) {
  TestSession session(
      {}, [](SessionOptions& options) { options.ping_interval = std::chrono::milliseconds(50); });
  FakeHook hook = session.connect();
  session.agent.answer_nothing();
  const Answer answer = hook.stat("/");
  EXPECT_TRUE(answer.has_come);
  EXPECT_EQ(answer.error, EIO);
}

TEST(LostAgent, RequestsThatAreNeverAnsweredFailThoughTheAgentAnswersPings) {
  TestSession session({}, [](SessionOptions& options) {
    options.ping_interval = std::chrono::milliseconds(50);
    options.reply_limit = std::chrono::milliseconds(200);
  });
  session.agent.add("/f", {.content = "x"});
  FakeHook hook = session.connect();
  EXPECT_EQ(hook.open("/f", O_RDONLY).error, 0);
  session.agent.answer_only_pings();
  const Answer answer = hook.stat("/");
  EXPECT_TRUE(answer.has_come);
  EXPECT_EQ(answer.error, ETIMEDOUT);
  EXPECT_EQ(hook.call(MessageType::kPing, "").error, 0) << "the session goes on";
}

// ---- hostile programs

TEST(HostileProgram, BrokenPacketsCloseItsConnectionOnly) {
  TestSession session;
  session.agent.add("/f", {.content = "x"});
  FakeHook good = session.connect(1);
  const local::LocalHeader unknown{static_cast<MessageType>(499), 0};
  const local::LocalHeader beyond{static_cast<MessageType>(0xFFFFFFFF), 0};
  FakeHook bad = session.connect(2);
  EXPECT_EQ(bad.call(unknown.type, "").error, ENOSYS);
  EXPECT_EQ(bad.call(beyond.type, "").error, ENOSYS);
  // Too short for its fixed part: an error, never a read beyond the packet.
  for (const MessageType type :
       {MessageType::kOpen, MessageType::kFetch, MessageType::kRead, MessageType::kWrite,
        MessageType::kStat, MessageType::kRename, MessageType::kMapPath, MessageType::kList}) {
    EXPECT_EQ(bad.call(type, "ab").error, EINVAL) << static_cast<int>(type);
  }
  local::PathRequest lying{};
  lying.first_length = 0xFFFFFFFF;
  EXPECT_EQ(bad.call(MessageType::kStat, lying, "/f").error, EINVAL);
  EXPECT_EQ(bad.open(std::string(5000, '/'), O_RDONLY).error, ENAMETOOLONG);
  EXPECT_EQ(bad.open(std::string("/a\0b", 4), O_RDONLY).error, EINVAL);
  FakeHook tiny = session.connect(3);
  tiny.send_raw("abc");
  EXPECT_FALSE(tiny.receive().has_come) << "closed";
  FakeHook silent{Fd(::dup(session.connect(4).fd()))};
  FakeHook twice = session.connect(5);
  twice.hello(6);  // another key on the same connection
  EXPECT_FALSE(twice.receive().has_come) << "closed";
  EXPECT_EQ(good.stat("/f").error, 0);
}

TEST(HostileProgram, ClosingAnUnknownHandleEndsItsConnection) {
  TestSession session;
  FakeHook bad = session.connect();
  EXPECT_EQ(bad.close(4711, true), -1);
}

TEST(HostileProgram, RequestsWithoutWaitingForAnswersAreServedInOrder) {
  TestSession session;
  session.agent.add("/f", {.content = "x"});
  FakeHook hook = session.connect();
  local::PathRequest request{};
  request.first_length = 2;
  for (int i = 0; i < 50; ++i) {
    hook.send(MessageType::kStat, FakeHook::bytes_of(request) + "/f");
  }
  for (int i = 0; i < 50; ++i) {
    const Answer answer = hook.receive();
    ASSERT_TRUE(answer.has_come) << i;
    EXPECT_EQ(answer.error, 0);
  }
}

}  // namespace
}  // namespace mirrord::intproxy::test
