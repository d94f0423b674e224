// applets/intproxy/local_server.h — the socket that hooks connect to: packets, descriptors and the
// one outstanding call of each connection.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "net/error.h"
#include "net/fd.h"
#include "net/listener.h"
#include "net/loop.h"
#include "proto/local.h"

namespace mirrord::intproxy {

class LocalServer;
class LocalConnection;
struct Process;

// A packet as it came. Its bytes live until the handler returns.
struct Request {
  local::MessageType type;
  std::span<const std::byte> body;  // after the header
  std::vector<Fd> descriptors;

  // The fixed part, or nothing when the packet is too short for it.
  template <class T>
    requires std::is_trivially_copyable_v<T>
  [[nodiscard]] std::optional<T> fixed() const {
    if (body.size() < sizeof(T)) {
      return std::nullopt;
    }
    T value;
    std::memcpy(&value, body.data(), sizeof(T));
    return value;
  }
  // What follows the fixed part.
  template <class T>
  [[nodiscard]] std::span<const std::byte> tail() const {
    return body.subspan(std::min(sizeof(T), body.size()));
  }
  template <class T>
  [[nodiscard]] std::string_view text() const {
    const std::span<const std::byte> bytes = tail<T>();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
};

// The right to answer one request, now or later. Destroyed without an answer it answers EIO; the
// answer to a connection that is gone is dropped. For one-way messages answers go nowhere.
class Call {
 public:
  Call(std::shared_ptr<LocalConnection> connection, local::MessageType type);
  Call(Call&&) noexcept = default;
  Call& operator=(Call&& other) noexcept;
  ~Call();

  void fail(int error_number);
  void succeed();  // an answer without contents
  void ignore();   // the hook waits for none (kClose of a file that was only read)
  template <class T>
    requires std::is_trivially_copyable_v<T>
  void answer(const T& fixed, std::span<const std::byte> tail = {}, int descriptor = -1) {
    send(0, std::as_bytes(std::span(&fixed, 1)), tail, descriptor);
  }
  void answer_bytes(std::span<const std::byte> bytes) { send(0, bytes, {}, -1); }
  void disconnect();  // the peer broke the rules: an answer would mislead it
  // The hook waits for an answer and is still there.
  [[nodiscard]] bool is_awaited() const;

 private:
  void send(int error_number, std::span<const std::byte> fixed, std::span<const std::byte> tail,
            int descriptor);

  std::shared_ptr<LocalConnection> connection_;
  local::MessageType type_;
};

// One program image of the session.
struct Process {
  std::uint64_t key = 0;
  pid_t pid = 0;
  std::string name;
  std::unordered_set<local::Handle> handles;  // dup'ed descriptors share one
  std::size_t connections = 0;
  // A child or next image that was announced (kFork without its connection, kExec) but has not
  // said hello. It holds its handles already.
  bool is_announced = false;
  std::uint64_t parent_key = 0;
  Fd pidfd;  // readable when the process has ended; closed when it could not be opened
  std::unique_ptr<net::FdWatcher> watcher;
};

class LocalConnection : public std::enable_shared_from_this<LocalConnection> {
 public:
  LocalConnection(LocalServer& server, Fd socket, pid_t peer);
  ~LocalConnection();
  LocalConnection(const LocalConnection&) = delete;
  LocalConnection& operator=(const LocalConnection&) = delete;

  void start();
  void close();  // idempotent; the server forgets the connection
  [[nodiscard]] Process* process() const { return process_; }
  void set_process(Process* process) { process_ = process; }
  [[nodiscard]] pid_t peer() const { return peer_; }
  [[nodiscard]] bool is_open() const { return socket_.is_open(); }
  // Is called with the answer to the present request.
  using AnswerWatcher = std::move_only_function<void(int error, std::span<const std::byte> fixed)>;
  void watch_answer(AnswerWatcher watcher) { answer_watcher_ = std::move(watcher); }

 private:
  friend class Call;
  friend class LocalServer;
  void on_ready(int events);
  bool receive();
  void receive_rest();
  void send(int error_number, local::MessageType type, std::span<const std::byte> fixed,
            std::span<const std::byte> tail, int descriptor);
  void transmit(std::span<const std::byte> first, std::span<const std::byte> second,
                std::span<const std::byte> third, int descriptor);
  void finish_call();

  LocalServer& server_;
  Fd socket_;
  pid_t peer_;
  Process* process_ = nullptr;
  AnswerWatcher answer_watcher_;
  bool has_call_ = false;
  bool is_watching_input_ = false;
  std::vector<std::byte> unsent_;  // an answer that the socket did not take
  Fd unsent_descriptor_;
  std::unique_ptr<net::FdWatcher> watcher_;
};

// Listens, accepts processes of the same user, and hands every packet to `on_request`.
class LocalServer {
 public:
  struct Handlers {
    std::move_only_function<void(LocalConnection&, Request&&, Call)> request;
    std::move_only_function<void(LocalConnection&)> closed;
    // A packet broke the rules; the connection is closed next.
    std::move_only_function<void(LocalConnection&, std::string_view why)> refused;
  };

  LocalServer(net::Loop& loop, Handlers handlers);
  ~LocalServer();
  LocalServer(const LocalServer&) = delete;
  LocalServer& operator=(const LocalServer&) = delete;

  // Programs of this user and root are served, or of every user.
  Status listen(const std::string& path, bool accepts_any_user = false);
  // A connected socket (kFork, tests). `peer` 0: told by the kernel with the first packet.
  std::shared_ptr<LocalConnection> adopt(Fd socket, pid_t peer);
  void stop_listening();
  // What a process has sent before its end.
  void read_rest_of(const Process& process);
  void close_connections_of(const Process& process);
  void close_all();
  [[nodiscard]] std::size_t connection_count() const { return connections_.size(); }

 private:
  friend class LocalConnection;
  void accept(Fd socket);
  [[nodiscard]] std::vector<std::shared_ptr<LocalConnection>> connections_of(
      const Process& process) const;

  net::Loop& loop_;
  Handlers handlers_;
  std::unique_ptr<net::Listener> listener_;
  std::unordered_map<LocalConnection*, std::shared_ptr<LocalConnection>> connections_;
  bool accepts_any_user_ = false;
  std::vector<std::byte> buffer_;  // every packet is received here; handled before the next
};

}  // namespace mirrord::intproxy
