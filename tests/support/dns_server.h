// tests/support/dns_server.h — a name server with scripted answers on a loopback port (UDP and TCP).
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "net/address.h"
#include "net/fd.h"

namespace mirrord::test {

enum : std::uint16_t { kTypeA = 1, kTypeCname = 5, kTypePtr = 12, kTypeAaaa = 28 };

struct DnsQuestion {
  std::string name;  // without trailing dot
  std::uint16_t type = 0;
  bool is_tcp = false;
};

struct DnsReply {
  bool is_dropped = false;
  bool is_truncated = false;
  std::uint8_t code = 0;
  std::vector<net::IpAddress> addresses;
  std::string pointer;  // PTR target, or the CNAME that owns the addresses
  std::uint32_t ttl = 0;
  int delay_ms = 0;
};

class DnsServer {
 public:
  using Script = std::function<DnsReply(const DnsQuestion&)>;

  // `address`: a loopback address of either family; port 0 chooses a free one.
  explicit DnsServer(Script script, const char* address = "127.0.0.1", std::uint16_t port = 0)
      : script_(std::move(script)) {
    const net::Endpoint at{*net::IpAddress::parse(address), port};
    sockaddr_storage storage;
    // A port that is free for one protocol need not be free for the other.
    for (int attempt = 0; attempt < 50 && !is_up_; ++attempt)
      is_up_ = bind_both(at, storage);
    endpoint_ = *net::Endpoint::from_sockaddr(storage);
    thread_ = std::thread([this] { serve(); });
  }
  ~DnsServer() {
    stopping_ = true;
    thread_.join();
  }
  DnsServer(const DnsServer&) = delete;
  DnsServer& operator=(const DnsServer&) = delete;

  [[nodiscard]] bool is_up() const { return is_up_; }
  [[nodiscard]] std::string resolv_conf_server() const {
    return "[" + endpoint_.ip.to_string() + "]:" + std::to_string(endpoint_.port);
  }
  [[nodiscard]] std::vector<DnsQuestion> questions() const {
    const std::lock_guard lock(mutex_);
    return questions_;
  }

 private:
  static void put16(std::string& out, unsigned value) {
    out += static_cast<char>(value >> 8);
    out += static_cast<char>(value);
  }
  static void put_name(std::string& out, const std::string& name) {
    for (std::size_t begin = 0; begin < name.size();) {
      const std::size_t end = std::min(name.find('.', begin), name.size());
      out += static_cast<char>(end - begin);
      out += name.substr(begin, end - begin);
      begin = end + 1;
    }
    out += '\0';
  }
  static void put_record(std::string& out, const std::string& owner, std::uint16_t type,
                         std::uint32_t ttl, const std::string& data) {
    put_name(out, owner);
    put16(out, type);
    put16(out, 1);
    put16(out, ttl >> 16);
    put16(out, ttl & 0xFFFF);
    put16(out, static_cast<unsigned>(data.size()));
    out += data;
  }

  std::string answer(const std::string& query, bool is_tcp) {
    DnsQuestion question;
    question.is_tcp = is_tcp;
    std::size_t at = 12;
    while (at < query.size() && query[at] != 0) {
      const auto length = static_cast<unsigned char>(query[at]);
      question.name += (question.name.empty() ? "" : ".") + query.substr(at + 1, length);
      at += length + 1u;
    }
    if (at + 5 > query.size()) {
      return {};
    }
    question.type = static_cast<std::uint16_t>(static_cast<unsigned char>(query[at + 1]) << 8 |
                                               static_cast<unsigned char>(query[at + 2]));
    const std::string asked = query.substr(12, at + 5 - 12);
    {
      const std::lock_guard lock(mutex_);
      questions_.push_back(question);
    }
    const DnsReply reply = script_(question);
    if (reply.delay_ms > 0) {
      ::usleep(static_cast<useconds_t>(reply.delay_ms) * 1000);
    }
    if (reply.is_dropped) {
      return {};
    }
    return encode(query.substr(0, 2), asked, question, reply);
  }

  static std::string encode(const std::string& id, const std::string& asked,
                            const DnsQuestion& question, const DnsReply& reply) {
    std::string records;
    unsigned count = 0;
    std::string owner = question.name;
    std::string target;
    if (!reply.pointer.empty()) {
      put_name(target, reply.pointer);
      const bool is_ptr = question.type == kTypePtr;
      put_record(records, owner, is_ptr ? kTypePtr : kTypeCname, reply.ttl, target);
      owner = reply.pointer;
      ++count;
    }
    for (const net::IpAddress& address : reply.addresses) {
      if (address.is_v6 == (question.type == kTypeAaaa)) {
        put_record(records, owner, question.type, reply.ttl,
                   std::string(reinterpret_cast<const char*>(address.bytes.data()),
                               address.is_v6 ? 16 : 4));
        ++count;
      }
    }
    std::string out = id;
    put16(out, 0x8180u | (reply.is_truncated ? 0x0200u : 0u) | reply.code);
    put16(out, 1);
    put16(out, reply.is_truncated ? 0 : count);
    put16(out, 0);
    put16(out, 0);
    out += asked;
    return reply.is_truncated ? out : out + records;
  }

  void serve() {
    while (!stopping_) {
      pollfd ready[2] = {{udp_.get(), POLLIN, 0}, {tcp_.get(), POLLIN, 0}};
      if (::poll(ready, 2, 20) <= 0) {
        continue;
      }
      char buffer[2048];
      if ((ready[0].revents & POLLIN) != 0) {
        sockaddr_storage from;
        socklen_t length = sizeof from;
        const ssize_t count = ::recvfrom(udp_.get(), buffer, sizeof buffer, 0,
                                         reinterpret_cast<sockaddr*>(&from), &length);
        if (count > 12) {
          const std::string out = answer({buffer, static_cast<std::size_t>(count)}, false);
          if (!out.empty()) {
            ::sendto(udp_.get(), out.data(), out.size(), 0, reinterpret_cast<sockaddr*>(&from),
                     length);
          }
        }
      }
      if ((ready[1].revents & POLLIN) != 0) {
        serve_tcp();
      }
    }
  }

  void serve_tcp() {  // one question per connection
    const mirrord::Fd peer(::accept4(tcp_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const timeval patience{1, 0};
    ::setsockopt(peer.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char buffer[2048];
    std::size_t have = 0;
    while (have < 2 || have < 2u + (static_cast<unsigned char>(buffer[0]) << 8 |
                                    static_cast<unsigned char>(buffer[1]))) {
      const ssize_t count = ::recv(peer.get(), buffer + have, sizeof buffer - have, 0);
      if (count <= 0) {
        return;
      }
      have += static_cast<std::size_t>(count);
    }
    const std::string out = answer({buffer + 2, have - 2}, true);
    std::string framed;
    put16(framed, static_cast<unsigned>(out.size()));
    framed += out;
    ::send(peer.get(), framed.data(), framed.size(), MSG_NOSIGNAL);
  }

  bool bind_both(const net::Endpoint& at, sockaddr_storage& storage) {
    udp_ = mirrord::Fd(::socket(at.ip.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
    tcp_ = mirrord::Fd(::socket(at.ip.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(tcp_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    socklen_t length = at.to_sockaddr(storage);
    if (::bind(udp_.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0)
      return false;
    ::getsockname(udp_.get(), reinterpret_cast<sockaddr*>(&storage), &length);
    return ::bind(tcp_.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0 &&
           ::listen(tcp_.get(), 16) == 0;
  }

  Script script_;
  mirrord::Fd udp_, tcp_;
  net::Endpoint endpoint_;
  bool is_up_ = false;
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;
  std::vector<DnsQuestion> questions_;
  std::thread thread_;
};

}  // namespace mirrord::test
