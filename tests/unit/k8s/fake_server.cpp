// tests/unit/k8s/fake_server.cpp — blocking sockets behind the fake API server.
#include "tests/unit/k8s/fake_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <utility>

#include "k8s/websocket.h"
#include "tests/unit/k8s/frames.h"

namespace mirrord::k8s {
namespace {

constexpr int kPatienceMs = 20'000;

}  // namespace

FakeConnection::FakeConnection(Fd socket) : socket_(std::move(socket)) {}

bool FakeConnection::fill() {
  pollfd waiting{socket_.get(), POLLIN, 0};
  if (::poll(&waiting, 1, kPatienceMs) <= 0) {
    return false;
  }
  std::array<char, 65536> piece;
  const ssize_t count = ::recv(socket_.get(), piece.data(), piece.size(), 0);
  if (count <= 0) {
    return false;
  }
  kept_.append(piece.data(), static_cast<std::size_t>(count));
  return true;
}

std::string FakeConnection::read_head() {
  while (kept_.find("\r\n\r\n") == std::string::npos) {
    if (!fill()) {
      return {};
    }
  }
  const std::size_t end = kept_.find("\r\n\r\n") + 4;
  std::string head = kept_.substr(0, end);
  kept_.erase(0, end);
  return head;
}

void FakeConnection::write(const std::string& text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const ssize_t count = ::send(socket_.get(), text.data() + at, text.size() - at, MSG_NOSIGNAL);
    if (count <= 0) {
      return;
    }
    at += static_cast<std::size_t>(count);
  }
}

std::string FakeConnection::read(std::size_t size) {
  while (kept_.size() < size && fill()) {
  }
  std::string text = kept_.substr(0, size);
  kept_.erase(0, text.size());
  return text;
}

std::string FakeConnection::read_some() {
  if (kept_.empty()) {
    fill();
  }
  return std::exchange(kept_, {});
}

FakeConnection::Frame FakeConnection::read_frame() {
  auto size = client_frame_size(kept_);
  while (!size || kept_.size() < size->header + size->payload) {
    if (!fill()) {
      return {};
    }
    size = client_frame_size(kept_);
  }
  const std::string text = read(size->header + size->payload);
  const auto frame = read_client_frame(bytes_of(text));
  return frame ? Frame{frame->first, frame->second} : Frame{};
}

bool FakeConnection::accept_websocket(const std::string& head, const std::string& protocol) {
  const std::string key = header_of(head, "Sec-WebSocket-Key");
  write(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Accept: " +
      websocket_accept(key) + "\r\nsec-websocket-protocol:" + protocol + "\r\n\r\n");
  return !key.empty();
}

FakeServer::FakeServer(std::function<void(FakeConnection&)> script)
    : listener_(test::listen_on_loopback()), script_(std::move(script)) {
  thread_ = std::thread([this] {
    while (!is_over_) {
      Fd socket(::accept4(listener_.socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (socket) {
        FakeConnection connection(std::move(socket));
        script_(connection);
      }
    }
  });
}

FakeServer::~FakeServer() {
  is_over_ = true;
  ::shutdown(listener_.socket.get(), SHUT_RDWR);
  thread_.join();
}

std::string header_of(const std::string& head, const std::string& name) {
  const std::size_t at = head.find("\r\n" + name + ": ");
  if (at == std::string::npos) {
    return {};
  }
  const std::size_t begin = at + 2 + name.size() + 2;
  return head.substr(begin, head.find("\r\n", begin) - begin);
}

}  // namespace mirrord::k8s
