// tests/support/wire_client.cpp — blocking wire client, agents and targets for tests.
#include "tests/support/wire_client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cstdio>

namespace mirrord::test {
namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

std::vector<std::string> agent_command(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {mirrord_path(), "agent"});
  return arguments;
}

}  // namespace

std::string mirrord_path() {
  const char* path = ::getenv("MIRRORD");
  return path != nullptr ? path : MIRRORD_EXECUTABLE;
}

std::uint16_t free_port() {
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  ::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size);
  ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

WireClient WireClient::connect(std::uint16_t port) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(port);
  EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
            0);
  return WireClient(std::move(socket));
}

void WireClient::send(const proto::ClientMessage& message) {
  proto::Bytes bytes;
  ASSERT_TRUE(proto::encode(message, bytes));
  send_bytes(bytes.text());
}

void WireClient::send_bytes(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0)
      return;  // the agent has gone; what is received next tells
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

std::optional<proto::DaemonMessage> WireClient::receive(int timeout_ms) {
  while (true) {
    auto message = decoder_.next();
    if (!message) {
      ADD_FAILURE() << "the agent sent no valid message: " << message.error().what;
      return std::nullopt;
    }
    if (*message)
      return std::move(*message);
    pollfd entry{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&entry, 1, timeout_ms) <= 0)
      return std::nullopt;
    const auto space = decoder_.writable();
    const ssize_t count = ::recv(socket_.get(), space.data(), space.size(), 0);
    if (count <= 0)
      return std::nullopt;
    decoder_.commit(static_cast<std::size_t>(count));
  }
}

bool WireClient::sees_end(int timeout_ms) {
  char buffer[4096];
  while (true) {
    pollfd entry{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&entry, 1, timeout_ms) <= 0)
      return false;
    if (::recv(socket_.get(), buffer, sizeof buffer, 0) <= 0)
      return true;
  }
}

void WireClient::finish_sending() const {
  ::shutdown(socket_.get(), SHUT_WR);
}

void WireClient::send_file(proto::FileRequest request) {
  send(proto::ClientMessage::make<"FileRequest">(std::move(request)));
}

std::string WireClient::switch_version(const char* version) {
  send(proto::ClientMessage::make<"SwitchProtocolVersion">(*proto::SemVer::parse(version)));
  const auto message = receive();
  const auto* settled = message ? message->get_if<"SwitchProtocolVersionResponse">() : nullptr;
  return settled != nullptr ? settled->to_string() : "";
}

void WireClient::report_unexpected(std::string_view wanted, const std::string& got) {
  ADD_FAILURE() << "expected the answer " << wanted << ", got " << got;
}

struct PrivateAgent::Pair {
  Fd ours;
  Fd theirs;
  static Pair make() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    return {Fd(ends[0]), Fd(ends[1])};
  }
};

PrivateAgent::PrivateAgent(std::vector<std::string> arguments,
                           std::map<std::string, std::string> environment)
    : PrivateAgent(Pair::make(), std::move(arguments), std::move(environment)) {}

PrivateAgent::PrivateAgent(Pair pair, std::vector<std::string> arguments,
                           std::map<std::string, std::string> environment)
    : client(std::move(pair.ours)) {
  arguments.insert(arguments.begin(), {"--stream-fd", std::to_string(pair.theirs.get())});
  process = std::make_unique<ChildProcess>(ChildProcess::Setup{
      agent_command(std::move(arguments)), std::move(environment), {pair.theirs.get()}});
  const auto line = process->read_line();
  EXPECT_TRUE(line && line->starts_with("agent ready - version "))
      << line.value_or(process->error_text());
}

PrivateAgent::~PrivateAgent() {
  client.close();
  if (process != nullptr && !process->wait())
    ADD_FAILURE() << "the agent does not end with its client";
}

ListeningAgent::ListeningAgent(std::vector<std::string> global, std::vector<std::string> command,
                               std::map<std::string, std::string> environment)
    : port(free_port()) {
  std::vector<std::string> arguments{"-l", std::to_string(port)};
  arguments.insert(arguments.end(), global.begin(), global.end());
  arguments.insert(arguments.end(), command.begin(), command.end());
  process = std::make_unique<ChildProcess>(
      ChildProcess::Setup{agent_command(std::move(arguments)), std::move(environment), {}});
  const auto line = process->read_line();
  EXPECT_TRUE(line && line->starts_with("agent ready - version "))
      << line.value_or(process->error_text());
}

TargetProcess::TargetProcess(const std::string& root,
                             std::map<std::string, std::string> environment) {
  process_ = std::make_unique<ChildProcess>(
      ChildProcess::Setup{{MIRRORD_TARGET_PROGRAM, root}, std::move(environment), {}});
  const auto line = process_->read_line();
  if (line)
    std::sscanf(line->c_str(), "ready %d", &pid_);
}

void TargetProcess::end() {
  process_->close_input();
  process_->wait();
}

}  // namespace mirrord::test
