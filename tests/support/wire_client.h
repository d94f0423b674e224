// tests/support/wire_client.h — a client of the agent's wire protocol that waits for each answer.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/fd.h"
#include "proto/codec.h"
#include "proto/stream_decoder.h"
#include "tests/support/child_process.h"

namespace mirrord::test {

class WireClient {
 public:
  explicit WireClient(Fd socket) : socket_(std::move(socket)) {}
  // Connects to a port on 127.0.0.1.
  static WireClient connect(std::uint16_t port);

  void send(const proto::ClientMessage& message);
  void send_bytes(std::string_view bytes);
  // The next message, or nothing at the end of the stream or after the time.
  std::optional<proto::DaemonMessage> receive(int timeout_ms = 10'000);
  // True when the agent ends the stream within the time, whatever it sends before.
  bool sees_end(int timeout_ms = 10'000);
  void finish_sending() const;
  void close() { socket_.reset(); }
  // For something that speaks another protocol on it.
  Fd take() { return std::move(socket_); }

  void send_file(proto::FileRequest request);
  // The next message as an answer of the given kind; a test failure when it is another.
  template <proto::FixedString Name>
  proto::FileResponse::ValueOf<Name> receive_file();
  template <proto::FixedString Name>
  proto::FileResponse::ValueOf<Name> file(proto::FileRequest request) {
    send_file(std::move(request));
    return receive_file<Name>();
  }
  // Announces a version and returns the settled one.
  std::string switch_version(const char* version);

 private:
  static void report_unexpected(std::string_view wanted, const std::string& got);

  Fd socket_;
  proto::DaemonStreamDecoder decoder_;
};

template <proto::FixedString Name>
proto::FileResponse::ValueOf<Name> WireClient::receive_file() {
  auto message = receive();
  if (message && message->is<"File">()) {
    auto& response = message->get<"File">();
    if (auto* wanted = response.get_if<Name>())
      return std::move(*wanted);
    report_unexpected(Name.view(), std::string(response.name()));
  } else {
    report_unexpected(Name.view(), message ? std::string(message->name()) : "nothing");
  }
  return std::unexpected(proto::ResponseError::make<"NotImplemented">());
}

// An agent whose only client is this object's, over a socket pair.
class PrivateAgent {
 public:
  explicit PrivateAgent(std::vector<std::string> arguments,
                        std::map<std::string, std::string> environment = {});
  ~PrivateAgent();  // it must end with its client
  PrivateAgent(const PrivateAgent&) = delete;
  PrivateAgent& operator=(const PrivateAgent&) = delete;

  WireClient client;
  std::unique_ptr<ChildProcess> process;

 private:
  struct Pair;
  explicit PrivateAgent(Pair pair, std::vector<std::string> arguments,
                        std::map<std::string, std::string> environment);
};

// An agent that listens on a port of this machine.
struct ListeningAgent {
  explicit ListeningAgent(std::vector<std::string> global, std::vector<std::string> command,
                          std::map<std::string, std::string> environment = {});
  WireClient connect() const { return WireClient::connect(port); }
  std::uint16_t port;
  std::unique_ptr<ChildProcess> process;
};

// A target in namespaces of its own; see target_main.cpp.
class TargetProcess {
 public:
  TargetProcess(const std::string& root, std::map<std::string, std::string> environment = {});
  // 0 when this machine does not let us make namespaces.
  [[nodiscard]] pid_t pid() const { return pid_; }
  void end();

 private:
  std::unique_ptr<ChildProcess> process_;
  pid_t pid_ = 0;
};

std::string mirrord_path();
std::uint16_t free_port();

}  // namespace mirrord::test
