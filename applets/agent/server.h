// applets/agent/server.h — accepts clients and decides when the agent has done its duty.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "applets/agent/incoming/incoming.h"
#include "applets/agent/session.h"
#include "applets/agent/target.h"
#include "applets/log/log.h"
#include "net/error.h"
#include "net/fd.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/tls.h"

namespace mirrord::agent {

// A socket that listens on all addresses, IPv6 and IPv4.
[[nodiscard]] Result<Fd> listen_for_clients(std::uint16_t port);

class Server {
 public:
  struct Limits {
    std::chrono::seconds first_client;  // without one until then the agent ends with an error
    std::chrono::seconds idle;          // how long to stay when the last client has gone
    std::chrono::seconds reconnect;     // the same for one that has gone without a goodbye
    bool fails_after_first_client = false;
  };

  // With `tls` every client has to pass its handshake, in which the agent is the TLS client that
  // demands a certificate; until then nothing of what it sends is looked at, and it counts for nothing.
  // Without `incoming` clients get no traffic of the target's ports.
  Server(net::Loop& loop, const Target& target, log::Log& log, Limits limits,
         std::shared_ptr<net::TlsContext> tls = nullptr,
         std::unique_ptr<Incoming> incoming = nullptr);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void listen(Fd listener);
  // Serves this connection, and when it ends nothing more.
  void serve_only(Fd socket);

  // Runs until the last client has left or the target has ended; returns what ended it.
  [[nodiscard]] Status run();

 private:
  void accept(Fd socket, const sockaddr_storage& peer);
  void welcome(Fd socket, std::string name);
  void add(std::uint64_t id, Fd socket, std::string name);
  void identify(std::uint64_t id);
  void remove(std::uint64_t id);
  void note_missing(const Session& session);
  void authenticate(Fd socket, std::string name);
  void authenticated(std::uint64_t id);
  void tls_ended(std::uint64_t id, std::optional<Error> why);
  void target_ended();
  void leave_with(const std::string& reason);
  void stop(Status status);
  void leave_when_idle();

  net::Loop& loop_;
  const Target& target_;
  log::Log& log_;
  const Limits limits_;
  std::unique_ptr<Incoming> incoming_;       // before the sessions, which use it to their end
  std::unique_ptr<net::Listener> listener_;  // until the agent leaves
  std::unique_ptr<net::FdWatcher> target_watcher_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Session>> sessions_;
  // TLS of a client, by its session's id.
  struct Guarded {
    std::unique_ptr<net::TlsPump> pump;
    Fd plain;  // until the handshake is done
    std::string name;
    bool is_authenticated = false;
  };
  std::shared_ptr<net::TlsContext> tls_;
  std::unordered_map<std::uint64_t, Guarded> guarded_;
  std::uint64_t next_id_ = 0;
  bool is_leaving_ = false;  // no new clients any more
  // Clients whose connections broke: by their keys, and how many of those that have none. They may
  // come back…
  std::unordered_set<std::string> missing_;
  int missing_strangers_ = 0;
  std::uint64_t missing_until_ms_ = 0;  // …until then
  net::Timer timer_;                    // for the first client, later for idleness
  Status status_;
  std::unique_ptr<net::SignalWatcher> on_terminate_;
  std::unique_ptr<net::SignalWatcher> on_interrupt_;
};

}  // namespace mirrord::agent
