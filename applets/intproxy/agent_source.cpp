// applets/intproxy/agent_source.cpp — spawns or connects to the agent; blocking, before the session.
#include "applets/intproxy/agent_source.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "applets/intproxy/kubernetes_connector.h"
#include "applets/intproxy/stream_taker.h"
#include "applets/intproxy/tcp_connector.h"
#include "applets/intproxy/tls_connector.h"

namespace mirrord::intproxy {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMaxTail = 4096;
constexpr int kEndWaitMs = 1000;       // for an agent whose stream is closed
constexpr int kLastWordsWaitMs = 500;  // for an agent that has failed to say why

// Only async-signal-safe calls: the child of fork.
[[noreturn]] void become_agent(const std::string& program, std::vector<char*>& arguments,
                               int stream, int output) {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  ::dup2(null, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  ::fcntl(stream, F_SETFD, 0);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execv(program.c_str(), arguments.data());
  static constexpr char kText[] = "the agent's executable cannot be run\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, kText, sizeof kText - 1);
  ::_exit(127);
}

Result<AgentStream> spawn_agent(net::Loop& loop, AgentSource& source) {
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return fail_system("create the agent's stream", errno);
  }
  Fd ours(ends[0]);
  Fd theirs(ends[1]);
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail_system("create the agent's output pipe", errno);
  }
  Fd output(ends[0]);
  Fd output_in(ends[1]);

  std::vector<std::string> words{"mirrord"};
  words.insert(words.end(), source.command.begin(), source.command.end());
  words.push_back("--stream-fd");
  words.push_back(std::to_string(theirs.get()));
  std::vector<char*> arguments;
  for (std::string& word : words) {
    arguments.push_back(word.data());
  }
  arguments.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) {
    return fail_system("start the agent", errno);
  }
  if (pid == 0) {
    become_agent(source.program, arguments, theirs.get(), output_in.get());
  }
  AgentStream stream;
  stream.socket = std::move(ours);
  stream.peer_name = "the agent";
  stream.process = std::make_unique<AgentProcess>(loop, pid, std::move(output));
  return stream;
}

Result<AgentStream> first_stream(net::Loop& loop, std::unique_ptr<AgentConnector> connector,
                                 milliseconds timeout) {
  std::optional<Result<ReopenedStream>> outcome;
  connector->reopen(timeout, [&](Result<ReopenedStream> opened) {
    outcome = std::move(opened);
    loop.stop();
  });
  while (!outcome) {
    loop.run();
  }
  if (!*outcome) {
    return std::unexpected(std::move(outcome->error()));
  }
  return AgentStream{std::move((*outcome)->socket), std::move((*outcome)->peer_name), nullptr,
                     std::move(connector)};
}

Result<AgentStream> connect_agent(net::Loop& loop, const std::string& address,
                                  const net::TlsIdentity& tls, milliseconds timeout) {
  MIRRORD_TRY(connector, make_tcp_connector(loop, address));
  if (!tls.certificate.empty()) {
    MIRRORD_TRY(guarded, make_tls_connector(loop, std::move(connector), tls));
    connector = std::move(guarded);
  }
  return first_stream(loop, std::move(connector), timeout);
}

Result<AgentStream> take_agent(net::Loop& loop, const std::string& path, milliseconds timeout) {
  MIRRORD_TRY(taker, take_streams(loop, path, timeout));
  MIRRORD_TRY(stream, first_stream(loop, std::move(taker.connector), timeout));
  if (!taker.can_reopen) {
    stream.connector.reset();
  }
  return stream;
}

constexpr StartStep step_of(k8s::StartStep step) {
  switch (step) {
    case k8s::StartStep::kBegin:
      return StartStep::kBegin;
    case k8s::StartStep::kDone:
      return StartStep::kDone;
    case k8s::StartStep::kWarning:
      return StartStep::kWarning;
    case k8s::StartStep::kInfo:
      break;
  }
  return StartStep::kInfo;
}

Result<AgentStream> open_cluster_agent(net::Loop& loop, k8s::AgentSessionRequest request,
                                       AgentSourceReport report, pid_t root) {
  auto connector = std::make_unique<KubernetesConnector>(loop, std::move(request));
  KubernetesConnector::Start start;
  start.progress = [tell = std::move(report.progress)](k8s::StartStep step, std::string_view text) {
    if (tell) {
      tell(step_of(step), text);
    }
  };
  start.timed = std::move(report.timed);
  MIRRORD_TRY(stream, connector->open(std::move(start), root));
  return AgentStream{std::move(stream.socket), std::move(stream.peer_name), nullptr,
                     std::move(connector)};
}

}  // namespace

Result<AgentStream> open_agent(net::Loop& loop, AgentSource source, milliseconds timeout,
                               AgentSourceReport report, pid_t root) {
  if (source.cluster) {
    return open_cluster_agent(loop, std::move(*source.cluster), std::move(report), root);
  }
  if (source.stream.is_open()) {
    return AgentStream{std::move(source.stream), "the agent", nullptr, nullptr};
  }
  if (!source.address.empty()) {
    return connect_agent(loop, source.address, source.tls, timeout);
  }
  if (!source.stream_server.empty()) {
    return take_agent(loop, source.stream_server, timeout);
  }
  return spawn_agent(loop, source);
}

Error start_failure(std::string_view last_words) {
  const std::size_t end = last_words.find('\n');
  std::string hint;
  if (end != std::string_view::npos) {
    std::string_view rest = last_words.substr(end + 1);
    rest = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    hint = rest;
  }
  return {ErrorCode::kDisconnected, "start the agent: " + std::string(last_words.substr(0, end)),
          std::move(hint), 0};
}

AgentProcess::AgentProcess(net::Loop& loop, pid_t pid, Fd output)
    : pid_(pid),
      pidfd_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))),
      output_(std::move(output)),
      watcher_(
          std::make_unique<net::FdWatcher>(loop, output_.get(), [this](int) { read_output(); })) {
  watcher_->watch(net::FdWatcher::kReadable);
}

AgentProcess::~AgentProcess() {
  watcher_.reset();
  const auto has_ended_within = [this](int wait_ms) {
    pollfd ended{pidfd_.get(), POLLIN, 0};
    return ::poll(&ended, 1, wait_ms) > 0;
  };
  if (!has_ended_within(kEndWaitMs)) {
    ::kill(pid_, SIGTERM);
    if (!has_ended_within(kEndWaitMs)) {
      ::kill(pid_, SIGKILL);
    }
  }
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
}

void AgentProcess::read_output() {
  std::array<char, 4096> piece;
  const ssize_t count = ::read(output_.get(), piece.data(), piece.size());
  if (count <= 0) {
    if (count == 0 || errno != EAGAIN) {
      watcher_->watch(net::FdWatcher::kNone);
    }
    return;
  }
  const std::string_view text(piece.data(), static_cast<std::size_t>(count));
  tail_ += text;
  if (tail_.size() > kMaxTail) {
    tail_.erase(0, tail_.size() - kMaxTail);
  }
  if (log_ == nullptr) {
    return;
  }
  line_ += text;
  for (std::size_t end = line_.find('\n'); end != std::string::npos; end = line_.find('\n')) {
    const std::string_view line = std::string_view(line_).substr(0, end);
    const auto parsed = log::parse_text_line(line);
    log_->write(log::Component::kAgent, parsed ? parsed->level : log::Level::kWarn,
                parsed ? parsed->rest : line);
    line_.erase(0, end + 1);
  }
  if (line_.size() > kMaxTail) {
    line_.clear();
  }
}

namespace {

// What is left without the agent's log of what went well.
std::string without_small_talk(std::string_view text) {
  std::string words;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    const auto logged = log::parse_text_line(text.substr(0, end));
    if (!logged || logged->level <= log::Level::kWarn)
      words += logged ? logged->rest : text.substr(0, end);
    text.remove_prefix(end);
  }
  return words;
}

}  // namespace

std::string AgentProcess::last_words() {
  watcher_->watch(net::FdWatcher::kNone);
  std::array<char, 4096> piece;
  while (true) {
    pollfd readable{output_.get(), POLLIN, 0};
    if (::poll(&readable, 1, kLastWordsWaitMs) <= 0) {
      break;
    }
    const ssize_t count = ::read(output_.get(), piece.data(), piece.size());
    if (count <= 0) {
      break;
    }
    tail_.append(piece.data(), static_cast<std::size_t>(count));
  }
  std::string words = without_small_talk(
      std::string_view(tail_).substr(tail_.size() > kMaxTail ? tail_.size() - kMaxTail : 0));
  while (!words.empty() && (words.back() == '\n' || words.back() == ' ')) {
    words.pop_back();
  }
  return words;
}

}  // namespace mirrord::intproxy
