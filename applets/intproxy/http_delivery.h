// applets/intproxy/http_delivery.h — the HTTP requests that reached the target: which there are, and the
// connections to programs that carry them.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "applets/intproxy/http_exchange.h"
#include "applets/intproxy/tls_delivery.h"
#include "net/http/client_stream.h"
#include "net/loop.h"

namespace mirrord::intproxy {

// Who listens on this machine for a port of the target.
class HttpListeners {
 public:
  struct Listener {
    std::uint64_t id;         // no other has it
    net::Endpoint address;    // where it listens
    net::Endpoint requested;  // where it believes to listen
  };
  virtual ~HttpListeners() = default;
  // The one to try first in front.
  virtual std::vector<Listener> listeners(std::uint16_t port, const net::IpAddress& local,
                                          const net::IpAddress& remote) = 0;
  // As a connection from `remote` to `local`.
  virtual Result<Fd> connect(const Listener& listener, const net::Endpoint& remote,
                             const net::IpAddress& local) = 0;
  virtual void closing(int socket) = 0;  // before a socket of connect() is closed
};

// Connections are kept for the next requests of the same client address to the same listener, for some
// seconds. One of HTTP/2 carries many requests at once.
class HttpDelivery final : public net::http::ClientStream::Owner {
 public:
  struct Handlers {
    std::move_only_function<void(const std::string& line)> warn;
    std::move_only_function<void(std::size_t bytes)> queued_more;  // for programs
    std::move_only_function<void()>
        copy_lost;  // a mirrored one was cut off: its program is too slow
  };
  HttpDelivery(net::Loop& loop, AgentLink& link, HttpListeners& listeners, Handlers handlers,
               TlsTrust trust = {});
  ~HttpDelivery() override;
  HttpDelivery(const HttpDelivery&) = delete;
  HttpDelivery& operator=(const HttpDelivery&) = delete;

  // A message of the agent's. False, and untouched: it is not about a request that there is.
  bool take(AgentLink::Outgoing kind, proto::DaemonTcp& message);
  // The agent is gone, or its connection: ends all; returns how many stolen requests that were.
  std::size_t drop_all();
  [[nodiscard]] std::size_t queued_bytes() const;  // for programs

  // For connections that are not HTTP.
  [[nodiscard]] TlsDelivery& tls() { return tls_; }

  // ---- for exchanges
  [[nodiscard]] AgentLink& agent() { return link_; }
  [[nodiscard]] std::uint64_t now_ms() const { return loop_.now_ms(); }
  // A connection for its request: one that is there, unless it `needs_fresh`, else another.
  Result<std::shared_ptr<net::http::ClientStream>> program_for(const HttpExchange& exchange,
                                                               bool needs_fresh);
  void erase(HttpExchange& exchange);
  void warn(const std::string& line) { handlers_.warn(line); }
  void queued_more(std::size_t bytes) { handlers_.queued_more(bytes); }
  void copy_lost() { handlers_.copy_lost(); }

  // An unused connection is ended after this; many servers do so after five seconds.
  static constexpr std::uint64_t kIdleMs = 3000;
  // A program that listens and accepts nothing.
  static constexpr std::uint64_t kConnectMs = 10'000;
  // A program that reads no more when all has ended.
  static constexpr std::uint64_t kLastBytesMs = 30'000;

 private:
  struct Key {
    std::uint64_t listener;
    net::http::Protocol protocol;
    net::IpAddress remote;
    TlsDelivery::Way way;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Connection {
    std::shared_ptr<net::http::ClientStream> program;
    Key key;
    bool is_available;  // in available_
  };

  std::span<std::byte> input_space() override;
  void is_ready(net::http::ClientStream& program) override;
  void closing(int socket) override { listeners_.closing(socket); }
  void is_over(net::http::ClientStream& program) override;

  bool take_request(AgentLink::Outgoing kind, proto::DaemonTcp& message);
  bool take_chunked(AgentLink::Outgoing kind, proto::ChunkedRequest& message);
  void begin(HttpExchange::Request&& request, HttpExchange::Frames&& frames, bool is_last);
  template <class Action>
  bool for_all_of(AgentLink::Outgoing kind, proto::ConnectionId connection, Action action);
  std::shared_ptr<net::http::ClientStream> take_available(const Key& key,
                                                          std::uint16_t remote_port);
  void make_available(Connection& connection);
  void make_unavailable(Connection& connection);
  void bury();
  void watch();
  void tick();

  net::Loop& loop_;
  AgentLink& link_;
  HttpListeners& listeners_;
  Handlers handlers_;
  TlsDelivery tls_;
  std::vector<std::byte> input_;
  std::map<HttpExchange::Id, std::unique_ptr<HttpExchange>> exchanges_;
  std::unordered_map<const net::http::ClientStream*, Connection> connections_;
  std::map<Key, std::vector<net::http::ClientStream*>> available_;
  // Until the loop's next turn: their own calls may be running.
  std::vector<std::unique_ptr<HttpExchange>> ended_exchanges_;
  std::vector<std::shared_ptr<net::http::ClientStream>> ended_connections_;
  bool is_burying_ = false;
  net::Timer timer_;
  bool is_ticking_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace mirrord::intproxy
