// applets/local_redis.cpp — the server's start, and the process that stays with it (the keeper).
#include "applets/local_redis.h"

#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "net/command.h"
#include "net/detach.h"
#include "net/file.h"
#include "net/leave.h"
#include "net/listener.h"
#include "net/pipe.h"
#include "net/spawn.h"

namespace mirrord {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using Words = std::vector<std::string>;

constexpr milliseconds kServerLimit{10'000};
constexpr milliseconds kContainerLimit{180'000};
constexpr milliseconds kTick{20};
constexpr milliseconds kFarewell{3'000};  // from SIGTERM to SIGKILL
constexpr std::size_t kMaxOutput = 4096;

// How a server runs: a command that lasts as long as it does, and one that removes what is left.
struct Plan {
  std::string runtime;
  Words run;
  Words remove;
  milliseconds limit;
};

Plan plan_of_server(const config::LocalRedis& redis) {
  // Data of one session are nobody's afterwards, and no file of them is left where it was started.
  Plan plan{.runtime = "native",
            .run = {redis.server_command, "--bind", "127.0.0.1", "--port",
                    std::to_string(redis.port), "--save", ""},
            .remove = {},
            .limit = kServerLimit};
  plan.run.insert(plan.run.end(), redis.arguments.begin(), redis.arguments.end());
  return plan;
}

Plan plan_of_container(const config::LocalRedis& redis) {
  const std::string port = std::to_string(redis.port);
  const std::string name = "mirrord-redis-" + port;
  const std::string& command = redis.container_command;
  Plan plan{.runtime = command.substr(command.rfind('/') + 1),
            .run = {command, "run", "--rm", "--name", name, "-p", "127.0.0.1:" + port + ":6379",
                    redis.image},
            .remove = {command, "rm", "--force", name},
            .limit = kContainerLimit};
  plan.run.insert(plan.run.end(), redis.arguments.begin(), redis.arguments.end());
  return plan;
}

// ---- in the keeper

// Its output comes through `output`. Killed with the keeper.
pid_t run_server(Words words, const net::Pipe& output) {
  const pid_t keeper = getpid();
  const pid_t child = fork();
  if (child != 0)
    return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGPIPE, SIG_DFL);
  dup2(output.write.get(), STDOUT_FILENO);
  dup2(output.write.get(), STDERR_FILENO);
  if (getppid() == keeper)
    execvp(words[0].c_str(), net::exec_pointers(words).data());
  dprintf(STDERR_FILENO, "%s\n", strerror(errno));  // NOLINT(concurrency-mt-unsafe): one thread
  _exit(127);
}

// Reads the server's output until it ends or `lifeline` does. What it said last.
std::string follow(Fd& output, const Fd& lifeline) {
  std::string text;
  for (;;) {
    std::array<pollfd, 2> watched{pollfd{lifeline.get(), 0, 0}, pollfd{output.get(), POLLIN, 0}};
    if (poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR)
      return text;
    if (watched[0].revents != 0)
      return text;
    if (watched[1].revents == 0)
      continue;
    std::array<char, 4096> piece;
    const ssize_t count = read(output.get(), piece.data(), piece.size());
    if (count <= 0)
      return text;
    text.append(piece.data(), static_cast<std::size_t>(count));
    if (text.size() > kMaxOutput)
      text.erase(0, text.size() - kMaxOutput);
  }
}

void end_server(pid_t server) {
  const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, server, 0)));
  pollfd ended{pidfd.get(), POLLIN, 0};
  kill(server, SIGTERM);
  if (poll(&ended, 1, static_cast<int>(kFarewell.count())) <= 0)
    kill(server, SIGKILL);
  waitpid(server, nullptr, 0);
}

[[noreturn]] void keep(const Plan& plan, const Fd& lifeline, const Fd& report) {
  auto output = net::make_pipe();
  const pid_t server = output ? run_server(plan.run, *output) : -1;
  if (server < 0)
    leave(1);
  output->write.reset();
  const std::string words = follow(output->read, lifeline);
  end_server(server);
  if (!plan.remove.empty())
    static_cast<void>(net::run_command({.words = plan.remove, .environment = {}}));
  [[maybe_unused]] const ssize_t written = write(report.get(), words.data(), words.size());
  leave(0);
}

// ---- in the command

struct Keeper {
  Fd lifeline;
  Fd report;  // ends when the server has; then it has said there why
};

Result<Keeper> start_keeper(const Plan& plan) {
  MIRRORD_TRY(lifeline, net::make_pipe());
  MIRRORD_TRY(report, net::make_pipe());
  MIRRORD_CHECK_STATUS(net::start_detached(
      {kRedisKeeperName, {lifeline.read.get(), report.write.get()}},
      "start a process for the local Redis", [&] { keep(plan, lifeline.read, report.write); }));
  return Keeper{std::move(lifeline.write), std::move(report.read)};
}

// Whatever it answers (it may want a password first), it is there.
bool answers(std::uint16_t port) {
  constexpr timeval kPatience{.tv_sec = 0, .tv_usec = 500'000};
  constexpr std::string_view kPing = "PING\r\n";
  const net::Endpoint endpoint{net::IpAddress::v4(127, 0, 0, 1), port};
  sockaddr_storage storage;
  const socklen_t length = endpoint.to_sockaddr(storage);
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
  char first = 0;
  return connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) == 0 &&
         send(socket.get(), kPing.data(), kPing.size(), MSG_NOSIGNAL) > 0 &&
         recv(socket.get(), &first, 1, 0) == 1 && (first == '+' || first == '-');
}

Result<StartedRedis> start(const Plan& plan, std::uint16_t port) {
  const std::string tried = "start a local Redis with `" + plan.run[0] + "`";
  const auto deadline = Clock::now() + plan.limit;
  MIRRORD_TRY(keeper, start_keeper(plan));
  while (Clock::now() < deadline) {
    pollfd ended{keeper.report.get(), POLLIN, 0};
    if (poll(&ended, 1, static_cast<int>(kTick.count())) > 0) {
      const std::string why = net::in_one_line(net::read_to_end(keeper.report.get(), kMaxOutput));
      return fail(ErrorCode::kSystem, tried + ": " + (why.empty() ? "it ended at once" : why),
                  "Set `local.runtime` to `container` or `redis_server`, and see that this one can "
                  "be started by hand.");
    }
    if (answers(port))
      return StartedRedis{plan.runtime, std::move(keeper.lifeline)};
  }
  return fail(ErrorCode::kTimeout,
              tried + ": no answer at localhost:" + std::to_string(port) + " within " +
                  std::to_string(plan.limit.count() / 1000) + " seconds",
              "See that it can be started by hand.");
}

}  // namespace

Result<StartedRedis> start_local_redis(const config::LocalRedis& redis) {
  // Another server there would answer in its place.
  const net::Endpoint endpoint{net::IpAddress::v4(127, 0, 0, 1), redis.port};
  if (auto free = net::listen_tcp(endpoint, 1, "Choose another port with `local.port`."); !free) {
    free.error().what.insert(0, "start a local Redis: ");
    return std::unexpected(std::move(free).error());
  }
  if (redis.runtime == config::RedisRuntime::kServer)
    return start(plan_of_server(redis), redis.port);
  auto in_container = start(plan_of_container(redis), redis.port);
  if (in_container || redis.runtime == config::RedisRuntime::kContainer)
    return in_container;
  auto native = start(plan_of_server(redis), redis.port);
  if (!native)
    native.error().what.insert(0, in_container.error().what + "; ");
  return native;
}

}  // namespace mirrord
