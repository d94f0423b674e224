// applets/demo/services.cpp — listens on the pod's addresses and connects clients with protocols.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "applets/demo/pod.h"
#include "net/listener.h"
#include "net/stream.h"

namespace mirrord::demo {
namespace {

constexpr std::size_t kMaxInput = 1 << 20;  // more than any request that is understood
constexpr int kBacklog = 1024;

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

SocketAddress make_address(const char* text, std::uint16_t port) {
  SocketAddress result;
  if (text[0] == '/') {
    auto* path = reinterpret_cast<sockaddr_un*>(&result.storage);
    path->sun_family = AF_UNIX;
    std::strncpy(path->sun_path, text, sizeof path->sun_path - 1);
    result.size = sizeof *path;
  } else if (std::strchr(text, ':') != nullptr) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&result.storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    inet_pton(AF_INET6, text, &v6->sin6_addr);
    result.size = sizeof *v6;
  } else {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&result.storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    inet_pton(AF_INET, text, &v4->sin_addr);
    result.size = sizeof *v4;
  }
  return result;
}

std::string to_text(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address);
    inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size());
  } else if (address.ss_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address);
    inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size());
  }
  return text.data();
}

Result<Fd> bind_socket(const SocketAddress& address, int type) {
  Fd socket(::socket(address.storage.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.is_open())
    return fail_system("make a socket", errno);
  const int on = 1;
  setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(socket.get(), address.get(), address.size) != 0)
    return fail_system("bind " + to_text(address.storage), errno);
  return socket;
}

class TcpService : public Service {
 public:
  TcpService(net::Loop& loop, Fd listener, Protocol protocol)
      : loop_(loop),
        protocol_(protocol),
        listener_(loop, std::move(listener), [this](Fd socket, const sockaddr_storage& peer) {
          start(std::move(socket), to_text(peer));
        }) {}

 private:
  struct Client {
    std::unique_ptr<net::Stream> stream;
    std::string peer;
    std::string input;
    std::array<std::byte, 65536> space;
    bool is_last = false;
  };

  void start(Fd socket, std::string peer) {
    const std::uint64_t key = next_key_++;
    Client& client = *(clients_[key] = std::make_unique<Client>());
    client.peer = std::move(peer);
    client.stream = std::make_unique<net::Stream>(loop_, std::move(socket), client.peer);
    client.stream->start({
        .buffer = [&client] { return std::span(client.space); },
        .received = [this, &client](std::size_t count) { received(client, count); },
        .ended = [this, key, &client] { client.is_last = true, finish(key, client); },
        .failed = [this, key](const Error&) { drop(key); },
        .drained = [&client] { client.stream->resume_reading(); },
    });
  }

  void received(Client& client, std::size_t count) {
    client.input.append(reinterpret_cast<const char*>(client.space.data()), count);
    const Reply reply = protocol_(client.input, client.peer);
    client.stream->write(std::as_bytes(std::span(reply.bytes)));
    if (client.stream->is_above_high_mark())
      client.stream->pause_reading();
    if (reply.is_last || client.input.size() > kMaxInput)
      client.stream->finish_writing();
  }

  // The client has sent all: it still gets what is queued for it.
  void finish(std::uint64_t key, Client& client) {
    client.stream->finish_writing();
    if (client.stream->has_finished_writing()) {
      drop(key);
      return;
    }
    auto timer = std::make_shared<net::Timer>(loop_);
    timer->start_repeating(std::chrono::milliseconds(20), [this, key, timer, tries = 0]() mutable {
      const auto found = clients_.find(key);
      if (found == clients_.end() || found->second->stream->has_finished_writing() ||
          ++tries > 3000) {
        drop(key);
        timer->stop();
        loop_.defer([timer = std::move(timer)] {});
      }
    });
  }

  // Not at once: a callback of the stream may be running.
  void drop(std::uint64_t key) {
    loop_.defer([this, key] { clients_.erase(key); });
  }

  net::Loop& loop_;
  Protocol protocol_;
  std::map<std::uint64_t, std::unique_ptr<Client>> clients_;
  std::uint64_t next_key_ = 0;
  net::Listener listener_;
};

// One answer for each datagram.
class UdpService : public Service {
 public:
  using Responder = std::string (*)(std::span<const std::byte> datagram);
  UdpService(net::Loop& loop, Fd socket, Responder respond)
      : socket_(std::move(socket)),
        respond_(respond),
        watcher_(loop, socket_.get(), [this](int) { answer_all(); }) {
    watcher_.watch(net::FdWatcher::kReadable);
  }

 private:
  void answer_all() {
    std::array<std::byte, 65536> space;
    for (;;) {
      SocketAddress peer;
      peer.size = sizeof peer.storage;
      const ssize_t count =
          recvfrom(socket_.get(), space.data(), space.size(), 0, peer.get(), &peer.size);
      if (count < 0)
        return;
      const std::string answer = respond_(std::span(space).first(static_cast<std::size_t>(count)));
      if (!answer.empty() || count == 0)
        sendto(socket_.get(), answer.data(), answer.size(), 0, peer.get(), peer.size);
    }
  }

  Fd socket_;
  Responder respond_;
  net::FdWatcher watcher_;
};

std::string respond_dns(std::span<const std::byte> datagram) {
  return answer_query(datagram, false);
}

std::string respond_echo(std::span<const std::byte> datagram) {
  return {reinterpret_cast<const char*>(datagram.data()), datagram.size()};
}

struct Place {
  const char* address;
  std::uint16_t port;
  Protocol protocol;
  UdpService::Responder respond;  // null: TCP (or a UNIX stream) only
};

// clang-format off
constexpr std::array kPlaces = std::to_array<Place>({
    {kNameServer,           53,   serve_dns,  respond_dns},
    {"10.96.12.34",         80,   serve_http, nullptr},
    {"fd00:96::12:34",      80,   serve_http, nullptr},
    {kPodAddress,           8080, serve_http, nullptr},
    {"127.0.0.1",           8080, serve_http, nullptr},
    {"203.0.113.10",        80,   serve_http, nullptr},
    {"2001:db8:113::10",    80,   serve_http, nullptr},
    {"10.96.12.35",         7777,   serve_echo, respond_echo},
    {"fd00:96::12:35",      7777,   serve_echo, respond_echo},
    {"/run/shop/echo.sock", 0,    serve_echo, nullptr},
});
// clang-format on

}  // namespace

Result<Services> start_services(net::Loop& loop) {
  Services services;
  for (const Place& place : kPlaces) {
    const SocketAddress address = make_address(place.address, place.port);
    Result<Fd> listener = bind_socket(address, SOCK_STREAM);
    const bool is_v6 = address.storage.ss_family == AF_INET6;
    if (!listener && is_v6)
      continue;  // a kernel without IPv6
    if (!listener)
      return std::unexpected(std::move(listener).error());
    if (listen(listener->get(), kBacklog) != 0)
      return fail_system(std::string("listen on ") + place.address, errno);
    services.push_back(std::make_unique<TcpService>(loop, std::move(*listener), place.protocol));
    if (place.respond == nullptr)
      continue;
    MIRRORD_TRY(datagrams, bind_socket(address, SOCK_DGRAM));
    services.push_back(std::make_unique<UdpService>(loop, std::move(datagrams), place.respond));
  }
  return services;
}

Reply serve_echo(std::string& input, const std::string&) {
  return {.bytes = std::exchange(input, {})};
}

Reply serve_dns(std::string& input, const std::string&) {
  Reply reply;
  while (input.size() >= 2) {
    const std::size_t size =
        static_cast<unsigned char>(input[0]) * 256U + static_cast<unsigned char>(input[1]);
    if (input.size() < size + 2)
      break;
    const std::string answer = answer_query(std::as_bytes(std::span(input)).subspan(2, size), true);
    reply.is_last = answer.empty();
    reply.bytes += static_cast<char>(answer.size() >> 8);
    reply.bytes += static_cast<char>(answer.size() & 0xFF);
    reply.bytes += answer;
    input.erase(0, size + 2);
  }
  return reply;
}

}  // namespace mirrord::demo
