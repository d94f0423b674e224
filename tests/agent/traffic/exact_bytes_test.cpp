// tests/agent/traffic/exact_bytes_test.cpp — every byte once and in order, whatever the sizes, pauses
// and half-closes: through the agent alone, and through intproxy and agent.
#include <mutex>
#include <thread>

#include "tests/agent/traffic/exact_flow.h"
#include "tests/agent/traffic/relay_fixture.h"

namespace mirrord::test {
namespace {

constexpr std::size_t kCount = 12;

std::vector<Conversation> conversations(std::uint64_t seed) {
  std::vector<Conversation> all;
  for (std::size_t i = 0; i < kCount; ++i)
    all.emplace_back(seed + i);
  return all;
}

// Accepts one connection for each conversation, in their order.
class Servers {
 public:
  void serve(Fd socket, const Conversation& conversation) {
    threads_.emplace_back([this, conversation, fd = std::move(socket)] {
      std::string problem = conversation.run(fd.get(), true);
      const std::lock_guard lock(mutex_);
      if (!problem.empty())
        problems_ += std::to_string(conversation.seed) + " upload: " + problem + "\n";
    });
  }
  std::string problems() {
    for (std::thread& thread : threads_)
      thread.join();
    threads_.clear();
    return problems_;
  }

 private:
  std::mutex mutex_;
  std::string problems_;
  std::vector<std::thread> threads_;
};

class ExactBytes : public RelayTest {};

TEST_F(ExactBytes, ThroughIntproxyAndAgent) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE("MIRRORD_TEST_SEED=" + std::to_string(seed));
  const Server server(SOCK_STREAM);
  Servers servers;
  std::mutex mutex;
  std::string problems;
  std::vector<std::thread> programs;
  for (const Conversation& conversation : conversations(seed)) {
    Relayed program = hook_connect(hook_, server.endpoint());
    ASSERT_EQ(program.error, 0);
    servers.serve(server.accept(), conversation);
    programs.emplace_back([&, conversation, fd = std::move(program.socket)] {
      const std::string problem = conversation.run(fd.get(), false);
      const std::lock_guard lock(mutex);
      if (!problem.empty())
        problems += std::to_string(conversation.seed) + " download: " + problem + "\n";
    });
  }
  for (std::thread& program : programs)
    program.join();
  EXPECT_EQ(servers.problems(), "");
  EXPECT_EQ(problems, "");
}

// The client's side of the wire protocol: one thread sends for all connections, one receives.
class ExactBytesOfTheAgent : public TrafficTest {
 protected:
  struct Program {
    Conversation conversation;
    proto::ConnectionId id;
    Checker download;
    std::size_t sent = 0;
    bool may_send = false;
    bool has_finished = false;
  };

  // A round over all connections; false when everything was sent.
  bool send_some(std::vector<Program>& programs, proto::Random& random, std::mutex& mutex) {
    bool is_left = false;
    for (Program& program : programs) {
      std::size_t size = 0;
      {
        const std::lock_guard lock(mutex);
        is_left = is_left || !program.has_finished;
        if (program.has_finished || !program.may_send)
          continue;
        size = std::min(piece_size(random), program.conversation.up.size - program.sent);
        program.has_finished = size == 0;
      }
      write(program.id, program.conversation.up.bytes(program.sent, size));  // none: the end
      program.sent += size;
      pause_sometimes(random);
    }
    return is_left;
  }
  void take(std::vector<Program>& programs, const DaemonMessage& message, std::mutex& mutex) {
    const auto* tcp = message.get_if<"TcpOutgoing">();
    ASSERT_NE(tcp, nullptr) << message.name();
    const auto* read = tcp->get_if<"Read">();
    if (read == nullptr)
      return;  // Close: both directions have ended
    const auto found = std::ranges::find(programs, (*read)->connection_id, &Program::id);
    ASSERT_NE(found, programs.end());
    ASSERT_FALSE(found->download.has_ended) << "bytes after the end";
    if ((*read)->bytes.empty()) {
      found->download.end();
      const std::lock_guard lock(mutex);
      found->may_send = true;
    } else {
      found->download.take((*read)->bytes.text());
    }
  }
};

TEST_F(ExactBytesOfTheAgent, ThroughTheAgentAlone) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE("MIRRORD_TEST_SEED=" + std::to_string(seed));
  const Server server(SOCK_STREAM);
  Servers servers;
  std::vector<Program> programs;
  for (const Conversation& conversation : conversations(seed)) {
    const auto id = connect(server.address()).value().connection_id;
    programs.push_back({conversation, id, Checker(conversation.down), 0,
                        conversation.order != Order::kDownThenUp, false});
    servers.serve(server.accept(), conversation);
  }
  std::mutex mutex;
  std::thread sender([&] {
    proto::Random random(seed);
    while (send_some(programs, random, mutex))
      std::this_thread::yield();
  });
  proto::Random random(seed + 1);
  while (!std::ranges::all_of(programs, [](const Program& p) { return p.download.has_ended; })) {
    const auto message = client_->receive();
    if (!message) {
      ADD_FAILURE() << "the agent has fallen silent";
      break;
    }
    take(programs, *message, mutex);
    pause_sometimes(random);
  }
  {
    const std::lock_guard lock(mutex);  // after a failure the sender must end too
    for (Program& program : programs)
      program.may_send = true;
  }
  sender.join();
  EXPECT_EQ(servers.problems(), "");
  for (const Program& program : programs)
    EXPECT_EQ(program.download.problem, "") << program.conversation.seed;
}

}  // namespace
}  // namespace mirrord::test
