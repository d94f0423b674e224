// bench/relay.cpp — echo, source, sink, plain relay and delaying relay on threads.
#include "bench/relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstddef>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <set>
#include <string>

namespace mirrord::bench {
namespace {

constexpr std::size_t kBufferSize = 256 * 1024;

void set_no_delay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// Copies one direction until its end, then passes the end on.
void copy_direction(int from, int to) {
  std::vector<std::byte> buffer(kBufferSize);
  for (;;) {
    const ssize_t count = ::read(from, buffer.data(), buffer.size());
    if (count <= 0 || !write_all(to, buffer.data(), static_cast<std::size_t>(count))) {
      break;
    }
  }
  ::shutdown(to, SHUT_WR);
}

using Clock = std::chrono::steady_clock;

// A direction of the delaying relay: one thread reads and stamps, this one writes when due. It
// sleeps until then and never spins: a spinning thread would take one of the processors away from
// what is measured, and the more so the more processes that has. Buffers are used again, the last
// one first, so that a small message costs no more than its bytes.
class DelayLine {
 public:
  using Buffer = std::unique_ptr<std::byte[]>;

  explicit DelayLine(std::chrono::microseconds delay) : delay_(delay) {}

  Buffer take_buffer() {
    std::unique_lock lock(mutex_);
    // Bounded like a link's bandwidth-delay product, far above what 1 ms at loopback speed needs.
    space_.wait(lock, [this] { return is_broken_ || parts_.size() < kMaxParts; });
    if (free_.empty()) {
      return std::make_unique_for_overwrite<std::byte[]>(kBufferSize);
    }
    Buffer buffer = std::move(free_.back());
    free_.pop_back();
    return buffer;
  }
  void push(Buffer buffer, std::size_t size) {
    const std::lock_guard lock(mutex_);
    if (is_broken_) {
      free_.push_back(std::move(buffer));
      return;
    }
    parts_.push_back({Clock::now() + delay_, std::move(buffer), size});
    ready_.notify_one();
  }
  void end() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    ready_.notify_one();
  }
  void run(int to) {
    ::prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);  // nanoseconds; 50 µs otherwise
    Part part;
    while (pop(part)) {
      std::this_thread::sleep_until(part.due);
      if (!write_all(to, part.buffer.get(), part.size)) {
        const std::lock_guard lock(mutex_);
        is_broken_ = true;
        space_.notify_one();
        break;
      }
    }
    ::shutdown(to, SHUT_WR);
  }

 private:
  static constexpr std::size_t kMaxParts = 128;
  struct Part {
    Clock::time_point due;
    Buffer buffer;
    std::size_t size = 0;
  };
  // Exchanges a written part for the next one; false after the last.
  bool pop(Part& part) {
    std::unique_lock lock(mutex_);
    if (part.buffer) {
      free_.push_back(std::move(part.buffer));
    }
    ready_.wait(lock, [this] { return ended_ || !parts_.empty(); });
    if (parts_.empty()) {
      return false;
    }
    part = std::move(parts_.front());
    parts_.pop_front();
    space_.notify_one();
    return true;
  }

  std::chrono::microseconds delay_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::condition_variable space_;
  std::deque<Part> parts_;
  std::vector<Buffer> free_;
  bool ended_ = false;
  bool is_broken_ = false;  // nobody takes the bytes any more
};

void delay_direction(int from, int to, std::chrono::microseconds delay) {
  DelayLine line(delay);
  std::thread writer([&] { line.run(to); });
  for (;;) {
    DelayLine::Buffer buffer = line.take_buffer();
    const ssize_t count = ::read(from, buffer.get(), kBufferSize);
    if (count <= 0) {
      break;
    }
    line.push(std::move(buffer), static_cast<std::size_t>(count));
  }
  line.end();
  writer.join();
}

class EchoServer final : public Server {
 public:
  // `reply`: instead of what came.
  explicit EchoServer(std::string reply = {}) : reply_(std::move(reply)) { listen(); }
  ~EchoServer() override { close(); }

 private:
  void serve(int socket) override { ::close(socket); }
  void accept_loop(int listener) override;
  // False when the connection has ended.
  bool answer(int socket) {
    const ssize_t count = ::recv(socket, buffer_.data(), buffer_.size(), 0);
    if (!reply_.empty())
      return count > 0 && write_all(socket, reply_.data(), reply_.size());
    return count > 0 && write_all(socket, buffer_.data(), static_cast<std::size_t>(count));
  }

  std::array<std::byte, 16 * 1024> buffer_;
  std::string reply_;
};

void EchoServer::accept_loop(int listener) {
  const int poller = ::epoll_create1(EPOLL_CLOEXEC);
  const auto watch = [poller](int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    ::epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
  };
  watch(listener);
  std::set<int> open;
  for (bool goes_on = true; goes_on;) {
    std::array<epoll_event, 64> events;
    const int count = ::epoll_wait(poller, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd != listener) {
        if (!answer(fd)) {
          open.erase(fd);
          ::close(fd);
        }
        continue;
      }
      const int socket = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      goes_on = socket >= 0;
      if (goes_on) {
        set_no_delay(socket);
        open.insert(socket);
        watch(socket);
      }
    }
  }
  for (const int socket : open) {
    ::close(socket);
  }
  ::close(poller);
}

class UdpEchoServer final : public Server {
 public:
  UdpEchoServer() { open_udp(); }
  ~UdpEchoServer() override {
    is_ending_ = true;
    close();
  }

 private:
  void serve(int) override {}
  void accept_loop(int socket) override {
    std::array<std::byte, 2048> buffer;
    sockaddr_in from{};
    for (;;) {
      socklen_t length = sizeof from;
      const ssize_t count = ::recvfrom(socket, buffer.data(), buffer.size(), 0,
                                       reinterpret_cast<sockaddr*>(&from), &length);
      if (is_ending_ || count < 0) {
        return;  // shutting the socket down ends the wait
      }
      ::sendto(socket, buffer.data(), static_cast<std::size_t>(count), 0,
               reinterpret_cast<sockaddr*>(&from), length);
    }
  }
  std::atomic<bool> is_ending_ = false;
};

class SourceServer final : public Server {
 public:
  explicit SourceServer(std::uint64_t bytes) : bytes_(bytes) { listen(); }
  ~SourceServer() override { close(); }

 private:
  void serve(int socket) override {
    const std::vector<std::byte> buffer(kBufferSize);
    for (std::uint64_t left = bytes_; left > 0;) {
      const std::size_t step = std::min<std::uint64_t>(left, buffer.size());
      if (!write_all(socket, buffer.data(), step)) {
        return;
      }
      left -= step;
    }
  }
  std::uint64_t bytes_;
};

class SinkServer final : public Server {
 public:
  SinkServer() { listen(); }
  ~SinkServer() override { close(); }

 private:
  void serve(int socket) override {
    std::vector<std::byte> buffer(kBufferSize);
    while (::read(socket, buffer.data(), buffer.size()) > 0) {
    }
    const char done = 'd';
    write_all(socket, &done, 1);
  }
};

class RelayServer final : public Server {
 public:
  RelayServer(std::uint16_t target, std::chrono::microseconds delay)
      : target_(target), delay_(delay) {
    listen();
  }
  ~RelayServer() override { close(); }

 private:
  void serve(int socket) override {
    const int upstream = connect_to(target_);
    if (upstream < 0) {
      return;
    }
    const auto copy = [this](int from, int to) {
      if (delay_.count() > 0) {
        delay_direction(from, to, delay_);
      } else {
        copy_direction(from, to);
      }
    };
    std::thread back([&] { copy(upstream, socket); });
    copy(socket, upstream);
    back.join();
    ::close(upstream);
  }
  std::uint16_t target_;
  std::chrono::microseconds delay_;
};

}  // namespace

Server::~Server() = default;

void Server::open_udp() {
  listener_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t length = sizeof address;
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    std::abort();
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_loop(listener_); });
}

void Server::listen() {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t length = sizeof address;
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener_, 1024) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    std::abort();
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_loop(listener_); });
}

void Server::close() {
  closing_ = true;
  ::shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  ::close(listener_);
}

void Server::accept_loop(int listener) {
  std::vector<std::thread> workers;
  std::vector<int> sockets;
  while (!closing_) {
    const int socket = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) {
      break;
    }
    set_no_delay(socket);
    sockets.push_back(socket);
    workers.emplace_back([this, socket] {
      serve(socket);
      ::shutdown(socket, SHUT_RDWR);
    });
  }
  for (const int socket : sockets) {
    ::shutdown(socket, SHUT_RDWR);
  }
  for (std::thread& worker : workers) {
    worker.join();
  }
  for (const int socket : sockets) {
    ::close(socket);
  }
}

std::unique_ptr<Server> make_echo_server() {
  return std::make_unique<EchoServer>();
}
std::unique_ptr<Server> make_http_server() {
  return std::make_unique<EchoServer>(std::string(kHttpAnswer));
}
std::unique_ptr<Server> make_udp_echo_server() {
  return std::make_unique<UdpEchoServer>();
}
std::unique_ptr<Server> make_source_server(std::uint64_t bytes) {
  return std::make_unique<SourceServer>(bytes);
}
std::unique_ptr<Server> make_sink_server() {
  return std::make_unique<SinkServer>();
}
std::unique_ptr<Server> make_plain_relay(std::uint16_t target) {
  return std::make_unique<RelayServer>(target, std::chrono::microseconds(0));
}
std::unique_ptr<Server> make_delay_relay(std::uint16_t target, std::chrono::microseconds delay) {
  return std::make_unique<RelayServer>(target, delay);
}

int connect_to(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  if (fd >= 0 && ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    ::close(fd);
    return -1;
  }
  set_no_delay(fd);
  return fd;
}

bool read_exactly(int fd, void* data, std::size_t size) {
  auto* at = static_cast<std::byte*>(data);
  while (size > 0) {
    const ssize_t count = ::read(fd, at, size);
    if (count <= 0) {
      return false;
    }
    at += count;
    size -= static_cast<std::size_t>(count);
  }
  return true;
}

bool write_all(int fd, const void* data, std::size_t size) {
  const auto* at = static_cast<const std::byte*>(data);
  while (size > 0) {
    const ssize_t count = ::send(fd, at, size, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      return false;
    }
    at += count;
    size -= static_cast<std::size_t>(count);
  }
  return true;
}

}  // namespace mirrord::bench
