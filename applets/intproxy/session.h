// applets/intproxy/session.h — one `exec`: its processes, its agent, its parts and its end.
//
// A part (files, DNS, outgoing) is a class that derives from Part, registers one handler per local
// message type in its constructor and is made in parts.cpp:
//
//   Dns::Dns(Session& session) : session_(session) {
//     session.handle(local::MessageType::kResolve, [this](Process& process, Request&& request,
//                                                         Call call) { … call.answer(reply); });
//     session.agent().set_handler<"TcpOutgoing">([this](proto::DaemonTcpOutgoing&& message) { … });
//   }
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "applets/intproxy/agent_link.h"
#include "applets/intproxy/load_watch.h"
#include "applets/intproxy/local_server.h"
#include "applets/intproxy/reconnect.h"
#include "applets/intproxy/start.h"
#include "applets/log/log.h"
#include "net/ending_signals.h"
#include "net/loop.h"
#include "proto/local.h"

namespace mirrord::intproxy {

class Session;

// What a broken connection has cost, for one line to the user.
struct Losses {
  std::size_t connections = 0;
  std::vector<std::string> written_files;  // paths of files that were open for writing
  std::vector<std::string> changed_files;  // not as before when they were opened again
  std::vector<std::string> gone_files;     // not there any more
};

class Part {
 public:
  virtual ~Part() = default;
  virtual void process_ended(Process& /*process*/) {}
  // `child` begins with copies of what `parent` holds.
  virtual void process_forked(Process& /*parent*/, Process& /*child*/) {}
  // Every pending reply has been answered already. Calls that wait here must be failed now.
  virtual void agent_lost(const Error& /*why*/) {}
  // The connection broke and another one is being made: what belongs to the old one has ended. Calls
  // that can wait do so in the link.
  virtual void agent_interrupted(Losses& /*losses*/) {}
  // The new connection is in use.
  virtual void agent_restored(const AgentLink::Restored& /*restored*/, Losses& /*losses*/) {}
  // Bytes of ended processes are still on their way to the agent: the session's end waits a while.
  virtual bool has_unfinished_work() { return false; }
};

// Makes all parts of a session (parts.cpp).
std::vector<std::unique_ptr<Part>> make_parts(Session& session);

class Session {
 public:
  using Handler = std::move_only_function<void(Process& process, Request&& request, Call call)>;
  static constexpr std::size_t kMessageTypes = 512;

  // The agent is ready. `settings` of the session directory is mapped when it exists. With a
  // connector the session survives the end of its stream.
  Session(net::Loop& loop, log::Log& log, SessionOptions options, std::unique_ptr<AgentLink> agent,
          std::unique_ptr<AgentConnector> connector = nullptr);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Status listen();  // creates `slots` and the socket in the session directory
  void run();       // until the session ends; then the session directory is gone
  void end(std::string_view why);
  // For the AgentLink's owner: its handlers of the same names.
  void on_agent_lost(const Error& why);
  void on_agent_interrupted(const Error& why);
  void on_agent_restored(const AgentLink::Restored& restored);

  void handle(local::MessageType type, Handler handler);
  [[nodiscard]] net::Loop& loop() { return loop_; }
  [[nodiscard]] AgentLink& agent() { return *agent_; }
  [[nodiscard]] LocalServer& server() { return server_; }
  [[nodiscard]] const SessionOptions& options() const { return options_; }
  [[nodiscard]] const local::Settings* settings() const { return settings_; }  // may be null
  template <class T>
  [[nodiscard]] std::span<const T> section(local::Section local::Settings::*member) const {
    if (settings_ == nullptr) {
      return {};
    }
    const local::Section section = settings_->*member;
    const auto* base = reinterpret_cast<const std::byte*>(settings_);
    if (section.offset > settings_size_ || section.size > settings_size_ - section.offset) {
      return {};
    }
    return {reinterpret_cast<const T*>(base + section.offset), section.size / sizeof(T)};
  }
  [[nodiscard]] std::string_view text(local::Section local::Settings::*member) const {
    const std::span<const char> bytes = section<char>(member);
    return {bytes.data(), bytes.size()};
  }
  [[nodiscard]] local::FileSlot* slots() { return slots_; }  // kSlotCount of them
  [[nodiscard]] const std::unordered_map<std::uint64_t, std::unique_ptr<Process>>& processes()
      const {
    return processes_;
  }
  [[nodiscard]] log::Log& log() { return log_; }
  // One line to the log, and on the program's standard error.
  void tell_user(const std::string& text);
  // The agent's own words about an error, from its log. The answer to the request that failed has
  // only a kind of error, and comes right after them.
  void note_agent_error(std::string text) { agent_error_ = std::move(text); }
  [[nodiscard]] std::string take_agent_error() { return std::exchange(agent_error_, {}); }

 private:
  Status map_settings();
  Status create_slots();
  void on_request(LocalConnection& connection, Request&& request, Call call);
  void log_request(LocalConnection& connection, const Request& request);
  void on_closed(LocalConnection& connection);
  // Processes (processes.cpp). False: the packet broke the rules.
  bool say_hello(LocalConnection& connection, const Request& request);
  bool fork_process(LocalConnection& connection, Request& request);
  bool exec_process(Process& process, const Request& request);
  void take_over(Process& next, Process& previous);
  Process& add_process(std::uint64_t key);
  // `is_visible`: `pid` is one of this PID namespace.
  void watch_process(Process& process, pid_t pid, bool is_visible);
  void remove_process(std::uint64_t key);
  void drop_oldest_reservation();
  void use_connector(std::unique_ptr<AgentConnector> connector);  // interruptions.cpp
  // End of the session (lifetime.cpp).
  void watch_root();
  void schedule_check();
  void check_end();
  void finish();
  void schedule_trim();
  void remove_directory();
  [[nodiscard]] std::string_view hook_path() const;

  net::Loop& loop_;
  SessionOptions options_;
  log::Log& log_;
  const bool logs_requests_;
  std::unique_ptr<AgentLink> agent_;
  std::unique_ptr<AgentConnector> idle_connector_;  // kept for what it does for the stream
  std::unique_ptr<Reconnector> reconnector_;        // none: a broken stream ends the session
  std::string agent_error_;
  Losses losses_;  // since the connection broke
  LocalServer server_;
  std::array<Handler, kMessageTypes> handlers_;  // by MessageType
  const local::Settings* settings_ = nullptr;
  std::size_t settings_size_ = 0;
  local::FileSlot* slots_ = nullptr;
  std::unordered_map<std::uint64_t, std::unique_ptr<Process>> processes_;
  std::deque<std::uint64_t> reservations_;  // keys of images that have not said hello yet
  Fd root_pidfd_;
  std::unique_ptr<net::FdWatcher> root_watcher_;
  std::unique_ptr<LoadWatch> load_watch_;  // until the first hello
  bool has_root_ = false;
  bool had_connection_ = false;
  bool has_ended_ = false;
  std::string end_reason_;  // set: it ends as soon as nothing is unfinished
  std::uint64_t end_wanted_at_ms_ = 0;
  std::uint64_t idle_since_ms_ = 0;
  net::Timer check_timer_;
  net::Timer trim_timer_;
  bool is_trim_due_ = false;
  bool was_used_ = false;  // since the trim timer was started
  std::optional<net::EndingSignals> signals_;
  std::vector<std::unique_ptr<Part>> parts_;  // last: parts go before what they use
};

}  // namespace mirrord::intproxy
