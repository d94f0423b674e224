// hook/sockets.cpp — socket, connect and the addresses of sockets.
//
// A remote connection keeps the program's own socket: it is connected to the intproxy's listener
// on loopback, which knows it by its source address, and the hook answers for its addresses.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "hook/address.h"
#include "hook/decide.h"
#include "hook/decision_log.h"
#include "hook/incoming.h"
#include "hook/ipc.h"
#include "hook/net_rules.h"
#include "hook/original.h"
#include "hook/session.h"
#include "hook/socket_calls.h"

namespace mirrord::hook {
namespace {

constexpr uint16_t kPingPort = 7;  // java.net.InetAddress.isReachable connects here

bool is_non_blocking(int fd) {
  const long flags = raw(SYS_fcntl, fd, F_GETFL, 0);
  return !failed(flags) && (flags & O_NONBLOCK) != 0;
}

// The original connect towards the relay; a success or a connection under way is recorded.
int connect_to_relay(int fd, Record* record, const local::Address& remote,
                     const local::ConnectReply& reply) {
  const int family = socket_option(fd, SO_DOMAIN);
  sockaddr_storage relay;
  const socklen_t length = to_sockaddr(reply.relay, family, &relay);
  SocketRecord& socket = record->socket;
  socket.connection = reply.connection;
  socket.remote = remote;
  socket.relay = reply.relay;
  socket.local = reply.state == local::ConnectState::kConnected ? reply.local : local::Address{};
  socket.is_connected = true;
  const int result = ORIGINAL(connect)(fd, reinterpret_cast<sockaddr*>(&relay), length);
  if (result != 0 && errno != EINPROGRESS && errno != EINTR) {
    socket.is_connected = false;
  }
  return result;
}

int connect_remotely(int fd, local::Transport transport, const local::Address& remote) {
  local::Address own = {};
  bool is_ours = false;
  if (remote.family != AF_UNIX) {
    const int error = bind_for_relay(fd, transport, remote, &own, &is_ours);
    if (error != 0) {
      return fail_with(error);
    }
  }
  const bool wait = transport != local::Transport::kDatagram && !is_non_blocking(fd);
  local::ConnectReply reply = {};
  bool comes_along = is_ours && transport == local::Transport::kDatagram;
  {
    RecordRef known(fd, RecordType::kSocket);  // connected before, to another peer
    comes_along = (known && release_from_intproxy(known->socket)) || comes_along;
  }
  const int error = request_connection(transport, wait, remote, own, &reply, comes_along ? fd : -1);
  if (error != 0) {
    return fail_with(error);
  }
  Record* record = socket_record(fd, transport);
  if (record != nullptr) {
    record->socket.has_come_along = comes_along;
  }
  return record != nullptr ? connect_to_relay(fd, record, remote, reply) : fail_with(ENOBUFS);
}

// A second connect on a socket of ours: the kernel knows whether it is done, under way or refused.
bool is_repeated(int fd, const local::Address& remote, sockaddr_storage* relay, socklen_t* length) {
  RecordRef record(fd, RecordType::kSocket);
  if (!record || !record->socket.is_connected ||
      record->socket.transport == local::Transport::kDatagram ||
      !is_same(record->socket.remote, remote)) {
    return false;
  }
  *length = to_sockaddr(record->socket.relay, socket_option(fd, SO_DOMAIN), relay);
  return true;
}

bool transport_of(int fd, local::Transport* transport) {
  switch (socket_option(fd, SO_TYPE)) {
    case SOCK_STREAM:
      *transport = local::Transport::kStream;
      return true;
    case SOCK_DGRAM:
      *transport = local::Transport::kDatagram;
      return true;
    case SOCK_SEQPACKET:
      *transport = local::Transport::kSeqpacket;
      return true;
    default:
      return false;
  }
}

int connect_original(int fd, const sockaddr* address, socklen_t length) {
  // A datagram socket may leave us for a local peer: then its answers are its own again.
  RecordRef record(fd, RecordType::kSocket);
  if (record) {
    record->socket.is_connected = false;
  }
  return ORIGINAL(connect)(fd, address, length);
}

bool is_remote_unix(const local::Address& address) {
  if (!has_flag(local::kUnixStreams) || address.length == 0) {
    return false;
  }
  const size_t skipped = address.data[0] == '\0' ? 1 : 0;  // an abstract name
  char name[sizeof address.data + 1];
  memcpy(name, address.data + skipped, address.length - skipped);
  name[address.length - skipped] = '\0';
  const auto* automaton =
      reinterpret_cast<const local::PathAutomaton*>(section_data(session.settings->unix_automaton));
  size_t length;
  return local::read_decision(classify_path(*automaton, name, &length)) == local::Decision::kRemote;
}

// How one address is to be connected; kAsk is resolved here.
bool goes_remote(local::Transport transport, const local::Address& remote) {
  const NetDecision decision = decide_connect(current_net_rules(), transport, remote);
  const bool is_remote =
      decision == NetDecision::kRemote ||
      (decision == NetDecision::kAsk && !is_bypassed_by_intproxy(transport, remote));
  if (MIRRORD_UNLIKELY(logs_decisions())) {
    log_peer(remote, is_remote);
  }
  return is_remote;
}

// A listener of the session that is known under this port on loopback: where it really is.
bool is_own_listener(const local::Address& remote, local::Address* actual) {
  return has_flag(local::kIncoming) && (is_loopback(remote) || is_unspecified(remote)) &&
         find_listener(remote, actual);
}

int connect_to_own_listener(int fd, const local::Address& actual) {
  local::Address target = actual;
  if (is_unspecified(target)) {
    target.data[0] = target.family == AF_INET ? 127 : 0;
    target.data[target.family == AF_INET ? 3 : 15] = 1;
    const int family = socket_option(fd, SO_DOMAIN);
    if (family == AF_INET && target.family == AF_INET6) {  // dual-stack
      target = {AF_INET, actual.port, 4, {127, 0, 0, 1}};
    }
  }
  sockaddr_storage storage;
  const socklen_t length = to_sockaddr(target, socket_option(fd, SO_DOMAIN), &storage);
  return ORIGINAL(connect)(fd, reinterpret_cast<sockaddr*>(&storage), length);
}

// Who is behind an accepted connection. False: what the kernel says is true.
bool real_addresses_of(int fd, RealAddresses* out) {
  sockaddr_storage storage;
  socklen_t length = sizeof storage;
  local::Address peer;
  return !failed(raw(SYS_getpeername, fd, &storage, &length)) &&
         to_local(reinterpret_cast<sockaddr*>(&storage), length, &peer) &&
         find_real_addresses(peer, out);
}

// getsockname of a socket that is not connected by us.
int own_name(int fd, sockaddr* address, socklen_t* length) {
  sockaddr_storage storage;
  socklen_t full = sizeof storage;
  const int result = ORIGINAL(getsockname)(fd, reinterpret_cast<sockaddr*>(&storage), &full);
  if (result != 0) {
    return result;
  }
  const int family = storage.ss_family;
  local::Address own;
  if ((family == AF_INET || family == AF_INET6) &&
      to_local(reinterpret_cast<sockaddr*>(&storage), full, &own) && own.port != 0) {
    const RecordRef record(fd, RecordType::kSocket);
    RealAddresses real;
    local::Address requested;
    if (record && record->socket.is_bound) {
      if (record->socket.is_elsewhere) {
        requested = record->socket.requested;
        requested.port = requested.port != 0 ? requested.port : own.port;
        to_program(requested, family, address, length);
        return 0;
      }
    } else if (real_addresses_of(fd, &real)) {
      to_program(real.own, family, address, length);
      return 0;
    } else if (find_requested(own, &requested)) {
      to_program(requested, family, address, length);
      return 0;
    }
  }
  __builtin_memcpy(address, &storage, least(*length, full));
  *length = full;
  return 0;
}

// The agent's side of a connection, asked for when the connect did not wait for it.
void learn_local_address(SocketRecord& socket) {
  const local::ConnectionRequest fixed = {socket.connection};
  local::ConnectReply reply = {};
  const Request request = {
      local::MessageType::kConnectOutcome, &fixed, sizeof fixed, nullptr, 0, -1};
  Answer answer = {&reply, sizeof reply, nullptr, 0, 0, -1, false};
  if (call(request, answer, ECONNRESET) == 0 && reply.state == local::ConnectState::kConnected) {
    socket.local = reply.local;
  }
}

}  // namespace
}  // namespace mirrord::hook

using namespace mirrord::hook;
namespace local = mirrord::local;

int hk_socket(int domain, int type, int protocol) {
  if (domain == AF_INET6 && is_active() && !has_flag(local::kIpv6)) {
    return fail_with(EAFNOSUPPORT);
  }
  return ORIGINAL(socket)(domain, type, protocol);
}

int hk_connect(int fd, const sockaddr* address, socklen_t length) {
  local::Address remote;
  if (!is_active() || !to_local(address, length, &remote)) {
    return connect_original(fd, address, length);
  }
  const bool is_unix = remote.family == AF_UNIX;
  if (local::Address actual;
      !is_unix && is_own_listener(remote, &actual) && socket_option(fd, SO_TYPE) == SOCK_STREAM) {
    return connect_to_own_listener(fd, actual);
  }
  if (is_unix ? !is_remote_unix(remote) : is_local_for_all(remote)) {
    return connect_original(fd, address, length);
  }
  sockaddr_storage relay;
  socklen_t relay_length;
  if (is_repeated(fd, remote, &relay, &relay_length)) {
    return ORIGINAL(connect)(fd, reinterpret_cast<sockaddr*>(&relay), relay_length);
  }
  local::Transport transport;
  if (!transport_of(fd, &transport) || (is_unix && transport == local::Transport::kDatagram)) {
    return connect_original(fd, address, length);
  }
  if (!is_unix && transport == local::Transport::kStream && remote.port == kPingPort &&
      has_flag(local::kTcpPing4Mock)) {
    return 0;
  }
  if (!is_unix && !goes_remote(transport, remote)) {
    return connect_original(fd, address, length);
  }
  return connect_remotely(fd, transport, remote);
}

int hk_getpeername(int fd, sockaddr* address, socklen_t* length) {
  RecordRef record(fd, RecordType::kSocket);
  if (!is_active() || address == nullptr || length == nullptr) {
    return ORIGINAL(getpeername)(fd, address, length);
  }
  if (!record || !record->socket.is_connected) {
    RealAddresses real;
    if (has_flag(local::kIncoming) && real_addresses_of(fd, &real)) {
      to_program(real.remote, socket_option(fd, SO_DOMAIN), address, length);
      return 0;
    }
    return ORIGINAL(getpeername)(fd, address, length);
  }
  sockaddr_storage relay;
  socklen_t relay_length = sizeof relay;
  const int result = ORIGINAL(getpeername)(fd, reinterpret_cast<sockaddr*>(&relay), &relay_length);
  if (result == 0) {
    to_program(record->socket.remote, relay.ss_family, address, length);
  }
  return result;
}

int hk_getsockname(int fd, sockaddr* address, socklen_t* length) {
  RecordRef record(fd, RecordType::kSocket);
  if (!is_active() || address == nullptr || length == nullptr) {
    return ORIGINAL(getsockname)(fd, address, length);
  }
  if (!record || !record->socket.is_connected) {
    return has_flag(local::kIncoming) || (record && record->socket.is_elsewhere)
               ? own_name(fd, address, length)
               : ORIGINAL(getsockname)(fd, address, length);
  }
  sockaddr_storage relay;
  socklen_t relay_length = sizeof relay;
  SocketRecord& socket = record->socket;
  if (socket.local.family == 0 &&
      !failed(raw(SYS_getpeername, fd, &relay, &relay_length))) {  // connected, so answered soon
    const SavedErrno saved;
    learn_local_address(socket);
  }
  if (socket.local.family == 0) {
    return ORIGINAL(getsockname)(fd, address, length);
  }
  to_program(socket.local, socket_option(fd, SO_DOMAIN), address, length);
  return 0;
}
