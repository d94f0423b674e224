// tests/agent/traffic/fixture.h — an agent with a directory as its target's root, its client, and
// servers to connect to.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "net/address.h"
#include "proto/outgoing.h"
#include "tests/agent/traffic/agent_thread.h"
#include "tests/agent/traffic/client.h"

namespace mirrord::test {

using proto::ClientMessage;
using proto::DaemonMessage;

// A listening or bound socket of the test itself, on loopback.
class Server {
 public:
  explicit Server(int type, const char* address = "127.0.0.1", int backlog = 2048) {
    net::Endpoint at{*net::IpAddress::parse(address), 0};
    socket_ = Fd(::socket(at.ip.family(), type | SOCK_CLOEXEC, 0));
    sockaddr_storage storage;
    socklen_t length = at.to_sockaddr(storage);
    ::bind(socket_.get(), reinterpret_cast<sockaddr*>(&storage), length);
    ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&storage), &length);
    endpoint_ = *net::Endpoint::from_sockaddr(storage);
    if (type == SOCK_STREAM)
      ::listen(socket_.get(), backlog);
  }
  // A UNIX listener. `path` may be abstract, with a leading NUL.
  Server(int type, const std::string& path) {
    socket_ = Fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    ::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address),
           static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size()));
    ::listen(socket_.get(), 16);
  }

  [[nodiscard]] Fd accept() const {
    return Fd(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] const net::Endpoint& endpoint() const { return endpoint_; }
  [[nodiscard]] proto::SocketAddress address() const { return to_wire(endpoint_); }
  void close() { socket_.reset(); }

  static proto::SocketAddress to_wire(const net::Endpoint& endpoint) {
    proto::SockAddr address;
    address.ip = {endpoint.ip.is_v6, endpoint.ip.bytes};
    address.port = endpoint.port;
    return proto::SocketAddress::make<"Ip">(address);
  }

 private:
  Fd socket_;
  net::Endpoint endpoint_;
};

inline proto::SocketAddress unix_path(const std::string& path) {
  return proto::SocketAddress::make<"Unix">(proto::UnixAddr::make<"Pathname">(path));
}

inline void send_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    ASSERT_GT(count, 0);
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

// What comes until the end, or until `limit` bytes.
inline std::string receive_all(int fd, std::size_t limit = ~std::size_t{0}) {
  std::string result;
  char block[65536];
  while (result.size() < limit) {
    const ssize_t count = ::recv(fd, block, std::min(sizeof block, limit - result.size()), 0);
    if (count <= 0)
      break;
    result.append(block, static_cast<std::size_t>(count));
  }
  return result;
}

class TrafficTest : public ::testing::Test {
 protected:
  TrafficTest() {
    char path[] = "/tmp/mirrord-traffic-XXXXXX";
    root_ = ::mkdtemp(path);
    std::filesystem::create_directories(root_ + "/etc");
    agent::Target target;
    target.root = Fd(::open(root_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    target.name = "test";
    agent_ = std::make_unique<AgentThread>(std::move(target));
    client_ = std::make_unique<Client>(agent_->take_client());
  }
  ~TrafficTest() override {
    client_.reset();
    agent_.reset();
    std::filesystem::remove_all(root_);
  }

  static proto::Uid uid(int number) {
    proto::Uid uid;
    std::memcpy(uid.bytes.data(), &number, sizeof number);
    return uid;
  }

  // TCP and UNIX streams. Each returns the reply to ConnectV2.
  proto::Res<proto::DaemonConnect> connect(const proto::SocketAddress& address) {
    const proto::Uid mine = uid(++uids_);
    client_->send(ClientMessage::make<"TcpOutgoing">(
        proto::LayerTcpOutgoing::make<"ConnectV2">(mine, address)));
    auto reply = client_->receive_if([&](const DaemonMessage& message) {
      const auto* tcp = message.get_if<"TcpOutgoing">();
      const auto* v2 = tcp == nullptr ? nullptr : tcp->get_if<"ConnectV2">();
      return v2 != nullptr && v2->uid == mine;
    });
    if (!reply)
      return std::unexpected(proto::ResponseError::make<"NotImplemented">());
    return reply->get<"TcpOutgoing">().get<"ConnectV2">().connect;
  }
  void write(proto::ConnectionId id, std::string_view text) {
    client_->send(ClientMessage::make<"TcpOutgoing">(
        proto::LayerTcpOutgoing::make<"Write">(id, proto::Bytes(text))));
  }
  void finish(proto::ConnectionId id) { write(id, {}); }
  void close(proto::ConnectionId id) {
    client_->send(ClientMessage::make<"TcpOutgoing">(proto::LayerTcpOutgoing::make<"Close">(id)));
  }

  // The next thing that happens to connection `id`: its data, "<end>", "<close>" or "<nothing>".
  std::string next(proto::ConnectionId id, std::chrono::milliseconds patience = Client::kPatience) {
    auto message = client_->receive_if(
        [&](const DaemonMessage& candidate) {
          const auto* tcp = candidate.get_if<"TcpOutgoing">();
          if (tcp == nullptr)
            return false;
          const auto* read = tcp->get_if<"Read">();
          const auto* closed = tcp->get_if<"Close">();
          return (read != nullptr && read->has_value() && (*read)->connection_id == id) ||
                 (closed != nullptr && *closed == id);
        },
        patience);
    if (!message)
      return "<nothing>";
    auto& tcp = message->get<"TcpOutgoing">();
    if (tcp.is<"Close">())
      return "<close>";
    const proto::Bytes& bytes = tcp.get<"Read">()->bytes;
    return bytes.empty() ? "<end>" : std::string(bytes.text());
  }
  std::string read(proto::ConnectionId id, std::size_t size) {
    std::string all;
    while (all.size() < size) {
      const std::string part = next(id);
      if (part == "<end>" || part == "<close>" || part == "<nothing>")
        return all + part;
      all += part;
    }
    return all;
  }
  bool ping(std::chrono::milliseconds patience = Client::kPatience) {
    client_->send(ClientMessage::make<"Ping">());
    return client_
        ->receive_if([](const DaemonMessage& message) { return message.is<"Pong">(); }, patience)
        .has_value();
  }

  std::string root_;
  std::unique_ptr<AgentThread> agent_;
  std::unique_ptr<Client> client_;
  int uids_ = 0;
};

}  // namespace mirrord::test
