// tests/support/sockets.h — connected sockets on loopback, and exact bytes through them, for tests.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>

#include "net/fd.h"

namespace mirrord::test {

inline constexpr int kPatienceMs = 20'000;  // for a machine that does much else

struct Listener {
  Fd socket;
  std::uint16_t port = 0;
};

// On 127.0.0.1, at a free port.
inline Listener listen_on_loopback(int backlog = 64) {
  Listener listener{Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))};
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ::bind(listener.socket.get(), reinterpret_cast<sockaddr*>(&address), length);
  ::listen(listener.socket.get(), backlog);
  ::getsockname(listener.socket.get(), reinterpret_cast<sockaddr*>(&address), &length);
  listener.port = ntohs(address.sin_port);
  return listener;
}

inline Fd connect_on_loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return {};
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return socket;
}

// Both ends of a TCP connection: who connected, who accepted.
inline std::pair<Fd, Fd> tcp_pair() {
  const Listener listener = listen_on_loopback();
  Fd client = connect_on_loopback(listener.port);
  return {std::move(client), Fd(::accept4(listener.socket.get(), nullptr, nullptr, SOCK_CLOEXEC))};
}

inline std::array<Fd, 2> socket_pair() {
  std::array<int, 2> ends{-1, -1};
  ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data());
  return {Fd(ends[0]), Fd(ends[1])};
}

// Something that has no period of a power of two.
inline std::string pattern(std::size_t size, unsigned seed) {
  std::string text(size, '\0');
  std::uint32_t state = seed;
  for (char& one : text) {
    state = state * 1664525 + 1013904223;
    one = static_cast<char>(state >> 24);
  }
  return text;
}

// Reads `size` bytes or to the end, at most `step` at a time with a pause after each; works on a
// descriptor that does not block. What went wrong is appended: " (reset)", " (nothing came)".
inline std::string read_up_to(int fd, std::size_t size, std::size_t step = 65536,
                              std::chrono::milliseconds pause = {}) {
  std::string text;
  std::string piece(step, '\0');
  while (text.size() < size) {
    pollfd waiting{fd, POLLIN, 0};
    if (::poll(&waiting, 1, kPatienceMs) <= 0)
      return text + " (nothing came)";
    const ssize_t count = ::recv(fd, piece.data(), std::min(step, size - text.size()), 0);
    if (count <= 0)
      return text + (count < 0 ? " (reset)" : "");
    text.append(piece.data(), static_cast<std::size_t>(count));
    std::this_thread::sleep_for(pause);
  }
  return text;
}

inline std::string read_to_end(int fd, std::size_t step = 65536,
                               std::chrono::milliseconds pause = {}) {
  return read_up_to(fd, SIZE_MAX, step, pause);
}

// Returns early when the peer is gone or takes nothing.
inline void write_all(int fd, const std::string& text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const ssize_t count = ::send(fd, text.data() + at, text.size() - at, MSG_NOSIGNAL);
    if (count < 0) {
      pollfd waiting{fd, POLLOUT, 0};
      if (errno != EAGAIN || ::poll(&waiting, 1, kPatienceMs) <= 0)
        return;
    }
    at += static_cast<std::size_t>(std::max<ssize_t>(count, 0));
  }
}

}  // namespace mirrord::test
