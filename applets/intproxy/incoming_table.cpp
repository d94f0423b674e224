// applets/intproxy/incoming_table.cpp — writes the table, and connects from the addresses it speaks of.
#include "applets/intproxy/incoming_table.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "net/random.h"

namespace mirrord::intproxy {
namespace {

constexpr std::uint16_t kLowestPort = 1024;
constexpr int kBindTries = 2000;

local::IncomingAddress narrow(const net::Endpoint& from) {
  local::IncomingAddress address{};
  address.family = static_cast<std::uint16_t>(from.ip.family());
  address.port = from.port;
  std::memcpy(address.data, from.ip.bytes.data(), sizeof address.data);
  return address;
}

// Readers take an entry only when its generation is even and did not change (proto/local.h).
template <class Entry, class Change>
void rewrite(Entry& entry, Change change) {
  const std::uint32_t before = __atomic_load_n(&entry.generation, __ATOMIC_RELAXED);
  // An exchange, whose acquiring half keeps the change behind it; TSan knows no fences.
  __atomic_exchange_n(&entry.generation, before + 1, __ATOMIC_ACQ_REL);
  change(entry);
  const std::uint32_t after = before + 2 == 0 ? 2 : before + 2;
  __atomic_store_n(&entry.generation, after, __ATOMIC_RELEASE);
}

net::IpAddress any_of(const net::IpAddress& like) {
  return {like.is_v6, {}};
}

}  // namespace

bool is_connecting(int socket) {
  tcp_info info{};
  socklen_t size = sizeof info;
  return ::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
         info.tcpi_state == TCP_SYN_SENT;
}

Result<std::unique_ptr<IncomingTable>> IncomingTable::create(const std::string& directory,
                                                             net::IpAddress source,
                                                             bool is_for_all_users) {
  const std::string path = directory + "/" + local::kIncomingFile;
  const Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.is_open() || (is_for_all_users && ::fchmod(file.get(), 0666) != 0) ||
      ::ftruncate(file.get(), sizeof(local::IncomingTable)) != 0) {
    return fail_system("create " + path, errno, "Free some space on that file system.");
  }
  void* memory = ::mmap(nullptr, sizeof(local::IncomingTable), PROT_READ | PROT_WRITE, MAP_SHARED,
                        file.get(), 0);
  if (memory == MAP_FAILED) {
    return fail_system("map " + path, errno);
  }
  return std::unique_ptr<IncomingTable>(
      new IncomingTable(static_cast<local::IncomingTable*>(memory), source));
}

IncomingTable::IncomingTable(local::IncomingTable* table, net::IpAddress source)
    : table_(table),
      source_(source),
      next_port_(static_cast<std::uint16_t>(kLowestPort + ::getpid() % 30000)) {}

IncomingTable::~IncomingTable() {
  ::munmap(table_, sizeof *table_);
}

Result<Fd> IncomingTable::bind(const net::IpAddress& ip, std::uint16_t& port) {
  Fd socket(::socket(ip.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) {
    return fail_system("open a socket to the program", errno);
  }
  for (int i = 0; i < kBindTries; ++i) {
    port = next_port_;
    next_port_ = next_port_ == 65535 ? kLowestPort : static_cast<std::uint16_t>(next_port_ + 1);
    sockaddr_storage storage;
    const socklen_t length = net::Endpoint{ip, port}.to_sockaddr(storage);
    if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0) {
      return socket;
    }
    if (errno != EADDRINUSE && errno != EACCES) {
      break;
    }
  }
  return fail_system("bind a socket to " + ip.to_string(), errno);
}

Result<Fd> IncomingTable::connect_to(const net::Endpoint& target, const IncomingOrigin& origin) {
  std::uint16_t port = 0;
  MIRRORD_TRY(socket, bind(target.ip.is_v6 ? net::IpAddress::v6_loopback() : source_, port));
  local::IncomingPeer& peer =
      target.ip.is_v6 ? table_->from_loopback6[port] : table_->from_source[port];
  rewrite(peer, [&](local::IncomingPeer& entry) {
    entry.remote = narrow(origin.remote);
    entry.local = narrow(origin.local);
  });
  sockaddr_storage storage;
  const socklen_t length = target.to_sockaddr(storage);
  int error = 0;
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) {
    error = errno;
  }
  if (error == EINPROGRESS) {  // on loopback a refusal is there by now
    socklen_t size = sizeof error;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  }
  if (error != 0) {
    forget(socket.get());
    return fail_system("connect to the program at " + target.to_string(), error);
  }
  return socket;
}

Result<Fd> IncomingTable::connect(const net::Endpoint& listener, const IncomingOrigin& origin) {
  if (listener.ip != any_of(listener.ip)) {
    return connect_to(listener, origin);
  }
  const net::Endpoint v4{net::IpAddress::v4(127, 0, 0, 1), listener.port};
  const net::Endpoint v6{net::IpAddress::v6_loopback(), listener.port};
  if (!listener.ip.is_v6) {
    return connect_to(v4, origin);
  }
  // It may take IPv6 only, with another one for IPv4 at the same port, which could not tell an IPv6 peer.
  auto connected = connect_to(origin.remote.ip.is_v6 ? v6 : v4, origin);
  return connected ? std::move(connected) : connect_to(origin.remote.ip.is_v6 ? v4 : v6, origin);
}

void IncomingTable::forget(int socket) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &length) != 0) {
    return;
  }
  const auto own = net::Endpoint::from_sockaddr(storage);
  if (own && own->ip.is_v6) {
    rewrite(table_->from_loopback6[own->port],
            [](local::IncomingPeer& entry) { entry.remote.family = 0; });
  }
}

std::uint32_t IncomingTable::add_listener(const net::Endpoint& requested,
                                          const net::Endpoint& actual) {
  for (std::uint32_t i = 0; i < local::kIncomingListeners; ++i) {
    if (table_->listeners[i].requested.family == 0) {
      rewrite(table_->listeners[i], [&](local::IncomingListener& entry) {
        entry.requested = narrow(requested);
        entry.actual = narrow(actual);
      });
      return i;
    }
  }
  return local::kIncomingListeners;
}

void IncomingTable::remove_listener(std::uint32_t index) {
  if (index < local::kIncomingListeners) {
    rewrite(table_->listeners[index],
            [](local::IncomingListener& entry) { entry.requested.family = 0; });
  }
}

}  // namespace mirrord::intproxy
