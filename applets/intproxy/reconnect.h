// applets/intproxy/reconnect.h — brings a session back to its agent after the stream has broken:
// asks the connector until it works or the time is over. docs/reconnect.md has the whole picture.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "applets/intproxy/agent_connector.h"
#include "applets/intproxy/agent_link.h"
#include "net/loop.h"

namespace mirrord::intproxy {

class Reconnector {
 public:
  struct Handlers {
    std::move_only_function<void(const std::string& line)> log;
    std::move_only_function<void(const std::string& line)> tell;  // the user
  };

  // `link` calls broken() and restored() through its owner.
  // How long to try: `timeout`, or longer if the connector needs it.
  Reconnector(net::Loop& loop, AgentLink& link, std::unique_ptr<AgentConnector> connector,
              std::chrono::milliseconds timeout, Handlers handlers);
  ~Reconnector();
  Reconnector(const Reconnector&) = delete;
  Reconnector& operator=(const Reconnector&) = delete;

  // The stream, or one that was to replace it, has broken. In the end either restored() is called
  // or the link is lost.
  void broken(const Error& why);
  void restored();
  // The session ends: nothing more is tried.
  void stop();
  // After that: see AgentConnector.
  void finish(std::chrono::milliseconds limit) { connector_->finish(limit); }

  [[nodiscard]] bool is_working() const { return is_working_; }
  [[nodiscard]] std::uint64_t downtime_ms() const { return loop_.now_ms() - began_ms_; }
  // What the connector wants to be said once it works.
  [[nodiscard]] std::string take_notice() { return std::exchange(notice_, {}); }

 private:
  [[nodiscard]] std::chrono::milliseconds time_left() const;  // at least 1
  void attempt();
  void opened(Result<ReopenedStream> stream);
  void retry();
  void give_up(const Error& why);

  net::Loop& loop_;
  AgentLink& link_;
  std::unique_ptr<AgentConnector> connector_;
  std::chrono::milliseconds timeout_;
  Handlers handlers_;
  bool is_working_ = false;
  bool is_stopped_ = false;
  bool is_asking_ = false;  // reopen() has not called back
  int attempts_ = 0;
  std::uint64_t began_ms_ = 0;
  std::uint64_t restored_ms_ = 0;
  std::uint64_t answers_then_ = 0;
  Error last_error_;
  std::string notice_;
  net::Timer pause_;
  net::Timer deadline_;
};

}  // namespace mirrord::intproxy
