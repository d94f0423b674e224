// applets/agent/session.h — one connected client: its messages, its version, its parts.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "applets/agent/client.h"
#include "applets/agent/dns.h"
#include "applets/agent/files.h"
#include "applets/agent/incoming/client_part.h"
#include "applets/agent/outgoing.h"
#include "applets/log/log.h"
#include "net/fd.h"
#include "net/loop.h"
#include "net/stream.h"
#include "proto/client_message.h"
#include "proto/daemon_message.h"
#include "proto/stream_decoder.h"
#include "proto/version.h"

namespace mirrord::agent {

// Independent of all other clients: what goes wrong here ends this session only.
class Session final : public ClientLink {
 public:
  struct Handlers {
    // The client has said which version it speaks; client_key() is known now. Optional.
    net::Callback known;
    // Called once, when the session is over. Neither of them may destroy the session.
    net::Callback ended;
  };
  // Without `incoming` the client gets no traffic that comes in.
  Session(net::Loop& loop, const Target& target, log::Log& log, Fd socket, std::string peer_name,
          Handlers handlers, Incoming* incoming = nullptr);
  ~Session() override;

  // Tells the client why, sends what is queued and ends.
  void close(std::string reason);
  // Ends the client's part in incoming traffic: it has another session now.
  void leave_ports() { incoming_.leave(); }
  [[nodiscard]] const std::string& peer_name() const { return peer_name_; }
  // The client has sent Close: it does not come back.
  [[nodiscard]] bool has_said_goodbye() const { return has_said_goodbye_; }
  // What the client calls itself, the same on all its connections; empty if it does not.
  [[nodiscard]] std::string_view client_key() const { return proto::client_key(client_version_); }

  net::Loop& loop() override { return loop_; }
  const Target& target() const override { return target_; }
  void send(proto::DaemonMessage&& message) override;
  void send_piped(proto::DaemonMessage&& message, const proto::Bytes& place,
                  net::LeasedPipe payload) override;
  const proto::SemVer& version() const override { return client_version_; }
  bool speaks_flight() const override;
  bool is_congested() const override;
  void hold_input() override;
  void release_input() override;
  void log_warning(std::string text) override;
  void log_error(std::string text) override;
  void log_info(std::string text) override;

 private:
  void receive(std::size_t count);
  void input_ended();
  void stream_failed();
  void decode();
  void handle(proto::ClientMessage&& message);
  void switch_version(const proto::SemVer& version);
  void send_environment(const proto::GetEnvVarsRequest& request);
  void tell(std::string text, proto::LogLevel level);
  void trace(const proto::ClientMessage& message);
  void schedule_flush();
  void flush();
  void drained();
  void end();

  net::Loop& loop_;
  const Target& target_;
  log::Log& log_;
  const std::string peer_name_;
  Handlers handlers_;
  bool has_ended_ = false;
  bool has_said_goodbye_ = false;
  bool is_closing_ = false;    // the client has been told to go
  bool is_finishing_ = false;  // the client has gone; its last requests are being carried out
  int holds_ = 0;
  proto::SemVer client_version_;
  bool is_ready_for_logs_ = false;
  proto::ClientStreamDecoder decoder_;
  proto::Bytes pending_;  // small messages, encoded, on their way to the stream
  bool flush_scheduled_ = false;
  bool is_receiving_ = false;  // what is sent now leaves at the end of that
  net::Stream stream_;
  Files files_;
  std::array<std::byte, 256> discarded_;  // what comes after the end was announced
  std::unique_ptr<net::Timer> farewell_;  // bounds the wait for the last bytes to leave
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Dns dns_;  // after alive_: these two may release the input when they go
  Outgoing outgoing_;
  IncomingClient incoming_;
};

}  // namespace mirrord::agent
