// tests/unit/k8s/fake_api_server.cpp — HTTP/1.1 on blocking sockets, a thread per connection.
#include "tests/unit/k8s/fake_api_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "k8s/json.h"

namespace mirrord::k8s {
namespace {

constexpr int kPollMs = 5;

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (count <= 0)
      return false;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

std::string header(const std::string& head, const char* name) {
  for (std::size_t at = head.find("\r\n"); at != std::string::npos; at = head.find("\r\n", at)) {
    at += 2;
    const std::size_t length = std::string_view(name).size();
    if (::strncasecmp(head.c_str() + at, name, length) == 0 && head[at + length] == ':') {
      const std::size_t begin = head.find_first_not_of(' ', at + length + 1);
      return head.substr(begin, head.find("\r\n", begin) - begin);
    }
  }
  return {};
}

std::string chunk(const std::string& text) {
  std::array<char, 32> size{};
  std::snprintf(size.data(), size.size(), "%zx\r\n", text.size());
  return size.data() + text + "\r\n";
}

}  // namespace

FakeApiServer::FakeApiServer(Handler handler)
    : handler_(std::move(handler)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::listen(listener_.get(), 64), 0);
  ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_connections(); });
}

FakeApiServer::~FakeApiServer() {
  is_over_ = true;
  acceptor_.join();
  for (std::thread& connection : connections_)
    connection.join();
}

ClientConfig FakeApiServer::config() const {
  ClientConfig config;
  config.server = "http://127.0.0.1:" + std::to_string(port_);
  config.name_space = "shop";
  return config;
}

std::vector<std::string> FakeApiServer::requests() const {
  const std::scoped_lock lock(mutex_);
  return requests_;
}

bool FakeApiServer::was_asked(std::string_view start) const {
  for (const std::string& request : requests())
    if (request.starts_with(start))
      return true;
  return false;
}

void FakeApiServer::accept_connections() {
  while (!is_over_) {
    pollfd waiting{listener_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, kPollMs) <= 0)
      continue;
    Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket)
      connections_.emplace_back(
          [this, owned = std::move(socket)]() mutable { serve(std::move(owned)); });
  }
}

void FakeApiServer::serve(Fd socket) {
  std::string kept;
  const auto read_more = [&] {
    while (!is_over_) {
      pollfd waiting{socket.get(), POLLIN, 0};
      if (::poll(&waiting, 1, kPollMs) <= 0)
        continue;
      std::array<char, 16384> block{};
      const ssize_t count = ::recv(socket.get(), block.data(), block.size(), 0);
      if (count > 0)
        kept.append(block.data(), static_cast<std::size_t>(count));
      return count > 0;
    }
    return false;
  };
  while (true) {
    std::size_t end = kept.find("\r\n\r\n");
    while (end == std::string::npos && read_more())
      end = kept.find("\r\n\r\n");
    if (end == std::string::npos)
      return;
    const std::string head = kept.substr(0, end + 2);
    kept.erase(0, end + 4);
    const std::size_t size = std::strtoul(header(head, "Content-Length").c_str(), nullptr, 10);
    while (kept.size() < size)
      if (!read_more())
        return;
    Request request;
    const std::size_t space = head.find(' ');
    const std::string target = head.substr(space + 1, head.find(' ', space + 1) - space - 1);
    const std::size_t question = target.find('?');
    request.method = head.substr(0, space);
    request.path = target.substr(0, question);
    request.query = question == std::string::npos ? "" : target.substr(question + 1);
    request.content_type = header(head, "Content-Type");
    request.body = kept.substr(0, size);
    kept.erase(0, size);
    if (!answer(socket.get(), request))
      return;
  }
}

bool FakeApiServer::answer(int fd, const Request& request) {
  Answer made;
  {
    const std::scoped_lock lock(mutex_);
    requests_.push_back(request.line() + (request.query.empty() ? "" : "?" + request.query));
    made = handler_(request);
  }
  const std::string start = "HTTP/1.1 " + std::to_string(made.status) + " x\r\n";
  if (!made.next_line)
    return write_all(fd, start + "Content-Type: application/json\r\nContent-Length: " +
                             std::to_string(made.body.size()) + "\r\n\r\n" + made.body);
  if (!write_all(fd, start + "Transfer-Encoding: chunked\r\n\r\n"))
    return false;
  while (!is_over_) {
    pollfd waiting{fd, POLLIN, 0};
    if (::poll(&waiting, 1, kPollMs) > 0)
      return false;  // the client is gone
    const std::scoped_lock lock(mutex_);
    if (const auto line = made.next_line(); line && !write_all(fd, chunk(*line + "\n")))
      return false;
  }
  return false;
}

FakeApiServer::Answer refusal(int status, const std::string& reason, const std::string& message) {
  return {.status = status,
          .body = Json::object({{"kind", "Status"},
                                {"status", "Failure"},
                                {"code", status},
                                {"reason", reason},
                                {"message", message}})
                      .dump()};
}

}  // namespace mirrord::k8s
