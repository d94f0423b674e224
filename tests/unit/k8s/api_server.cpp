// tests/unit/k8s/api_server.cpp — blocking sockets behind the test server.
#include "tests/unit/k8s/api_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <strings.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

namespace mirrord::k8s {
namespace {

// Appends what comes; false at the end.
bool read_more(int fd, std::string& into) {
  std::array<char, 16384> piece;
  const ssize_t count = ::recv(fd, piece.data(), piece.size(), 0);
  if (count <= 0) {
    return false;
  }
  into.append(piece.data(), static_cast<std::size_t>(count));
  return true;
}

}  // namespace

std::string TestRequest::header(const std::string& name) const {
  std::size_t at = head.find("\r\n");
  while (at != std::string::npos && at + 2 < head.size()) {
    at += 2;
    const std::size_t end = head.find("\r\n", at);
    if (::strncasecmp(head.data() + at, name.data(), name.size()) == 0 &&
        head[at + name.size()] == ':') {
      return head.substr(at + name.size() + 2, end - at - name.size() - 2);
    }
    at = end;
  }
  return {};
}

void TestConnection::write(const std::string& text) const {
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t count = ::send(fd_, text.data() + at, text.size() - at, MSG_NOSIGNAL);
    if (count <= 0) {
      return;
    }
    at += static_cast<std::size_t>(count);
  }
}

void TestConnection::answer(int status, const std::string& body, const std::string& headers) const {
  write("HTTP/1.1 " + std::to_string(status) + " Text\r\nContent-Type: application/json\r\n" +
        headers + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
}

void TestConnection::chunk(const std::string& text) const {
  std::array<char, 20> size{};
  static_cast<void>(snprintf(size.data(), size.size(), "%zx\r\n", text.size()));
  write(size.data() + text + "\r\n");
}

void TestConnection::hang_up() {
  ::shutdown(fd_, SHUT_RDWR);
}

void TestConnection::reset() {
  const linger at_once{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  sockaddr_in nobody{};
  nobody.sin_family = AF_UNSPEC;  // connect(2): dissolves the association, which sends a reset
  ::connect(fd_, reinterpret_cast<sockaddr*>(&nobody), sizeof nobody);
}

void TestConnection::wait_for_client() const {
  std::string ignored;
  while (read_more(fd_, ignored)) {
  }
}

bool TestConnection::has_client_left() const {
  char next;
  const ssize_t count = ::recv(fd_, &next, 1, MSG_PEEK | MSG_DONTWAIT);
  return count == 0 || (count < 0 && errno != EAGAIN);
}

TestApiServer::TestApiServer(Handler handler)
    : handler_(std::move(handler)), listener_(test::listen_on_loopback()) {
  accepting_ = std::thread([this] {
    while (!is_over_) {
      Fd socket(::accept4(listener_.socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (socket && !is_over_) {
        adopt(std::move(socket));
      }
    }
  });
}

void TestApiServer::adopt(Fd socket) {
  ++connection_count_;
  const std::lock_guard lock(mutex_);
  const int fd = socket.get();
  sockets_.push_back(std::move(socket));
  threads_.emplace_back([this, fd] { serve(fd); });
}

TestApiServer::~TestApiServer() {
  is_over_ = true;
  ::shutdown(listener_.socket.get(), SHUT_RDWR);
  accepting_.join();
  for (const Fd& socket : sockets_) {
    ::shutdown(socket.get(), SHUT_RDWR);
  }
  for (std::thread& thread : threads_) {
    thread.join();
  }
}

std::vector<TestRequest> TestApiServer::requests() {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void TestApiServer::serve(int fd) {
  std::string kept;
  TestConnection connection(fd);
  while (!is_over_) {
    while (kept.find("\r\n\r\n") == std::string::npos) {
      if (!read_more(fd, kept)) {
        ::shutdown(fd, SHUT_RDWR);
        return;
      }
    }
    const std::size_t end = kept.find("\r\n\r\n") + 4;
    TestRequest request;
    request.head = kept.substr(0, end);
    kept.erase(0, end);
    const std::size_t space = request.head.find(' ');
    request.method = request.head.substr(0, space);
    request.path = request.head.substr(space + 1, request.head.find(' ', space + 1) - space - 1);
    const std::string length = request.header("Content-Length");
    const std::size_t size = length.empty() ? 0 : std::stoul(length);
    while (kept.size() < size && read_more(fd, kept)) {
    }
    request.body = kept.substr(0, size);
    kept.erase(0, request.body.size());
    {
      const std::lock_guard lock(mutex_);
      request.number = static_cast<int>(requests_.size()) + 1;
      requests_.push_back(request);
    }
    handler_(request, connection);
  }
}

}  // namespace mirrord::k8s
