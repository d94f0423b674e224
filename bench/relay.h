// bench/relay.h — the yardsticks' own network parts: an echo server, a source, a sink, a plain
// relay and a relay that adds a delay. Each runs on threads of its own and ends with its object.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

namespace mirrord::bench {

// A listener on 127.0.0.1 that hands every accepted socket to `serve` on a new thread.
class Server {
 public:
  virtual ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  [[nodiscard]] std::uint16_t port() const { return port_; }

 protected:
  Server() = default;
  void listen();    // called by the constructor of the concrete server
  void open_udp();  // instead of listen(): accept_loop gets a bound datagram socket
  void close();     // called by its destructor: after it no thread runs any more
  virtual void serve(int socket) = 0;
  virtual void accept_loop(int listener);  // until accepting fails

 private:
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<bool> closing_ = false;
  std::thread acceptor_;
};

// Sends back what it gets: one thread that waits with epoll for all its connections, as servers of
// many clients do (the agent too), so that neither the yardstick nor ours pays for a new thread.
std::unique_ptr<Server> make_echo_server();
// The same with this answer to each request, which is taken to come in one piece.
inline constexpr std::string_view kHttpAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
std::unique_ptr<Server> make_http_server();
// The same for datagrams: each goes back to where it came from.
std::unique_ptr<Server> make_udp_echo_server();
// Sends `bytes` to everyone who connects, then ends.
std::unique_ptr<Server> make_source_server(std::uint64_t bytes);
// Reads to the end, then answers with one byte.
std::unique_ptr<Server> make_sink_server();
// Copies between its clients and 127.0.0.1:`target`.
std::unique_ptr<Server> make_plain_relay(std::uint16_t target);
// The same, holding each byte back for `delay` in each direction, at any throughput.
std::unique_ptr<Server> make_delay_relay(std::uint16_t target, std::chrono::microseconds delay);

// A blocking connection to 127.0.0.1:`port` with TCP_NODELAY, or -1.
int connect_to(std::uint16_t port);
bool read_exactly(int fd, void* data, std::size_t size);
bool write_all(int fd, const void* data, std::size_t size);

}  // namespace mirrord::bench
