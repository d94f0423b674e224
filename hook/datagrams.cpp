// hook/datagrams.cpp — packets sent without a connection, and where packets seem to come from.
#include <netinet/in.h>
#include <sys/socket.h>

#include "hook/address.h"
#include "hook/net_rules.h"
#include "hook/original.h"
#include "hook/session.h"
#include "hook/socket_calls.h"

namespace mirrord::hook {
namespace {

constexpr uint16_t kDnsPort = 53;

// Resolvers of their own (netty, dig) send to port 53 without connecting: that is a look-up and
// follows the DNS setting, whatever `outgoing.udp` says. Other packets to loopback are for a
// server that this machine runs.
bool is_remote_datagram(const local::Address& remote) {
  NetRules rules = current_net_rules();
  if (remote.port == kDnsPort && (rules.flags & local::kDnsEnabled) != 0) {
    rules.flags |= local::kOutgoingUdp;
  } else if (is_loopback(remote)) {
    return false;
  }
  const NetDecision decision = decide_connect(rules, local::Transport::kDatagram, remote);
  return decision == NetDecision::kRemote ||
         (decision == NetDecision::kAsk &&
          !is_bypassed_by_intproxy(local::Transport::kDatagram, remote));
}

enum class Destination { kOriginal, kRelay, kError };

// Where a packet to `address` has to go; kError sets errno.
Destination choose_destination(int fd, const sockaddr* address, socklen_t length,
                               sockaddr_storage* relay, socklen_t* relay_length) {
  local::Address remote;
  if (!is_active() || !to_local(address, length, &remote) || remote.family == AF_UNIX) {
    return Destination::kOriginal;
  }
  {
    RecordRef record(fd, RecordType::kSocket);
    const local::Address* known = record ? find_relay(record->socket, remote) : nullptr;
    if (known != nullptr) {
      *relay_length = to_sockaddr(*known, address->sa_family, relay);
      return Destination::kRelay;
    }
  }
  if (!is_remote_datagram(remote) || socket_option(fd, SO_TYPE) != SOCK_DGRAM) {
    return Destination::kOriginal;
  }
  local::Address own;
  local::ConnectReply reply = {};
  int error = bind_for_relay(fd, local::Transport::kDatagram, remote, &own);
  if (error == 0) {
    error = request_connection(local::Transport::kDatagram, false, remote, own, &reply);
  }
  Record* record = error == 0 ? socket_record(fd, local::Transport::kDatagram) : nullptr;
  if (record == nullptr || !add_association(record->socket, remote, reply.relay)) {
    errno = error != 0 ? error : ENOBUFS;
    return Destination::kError;
  }
  *relay_length = to_sockaddr(reply.relay, address->sa_family, relay);
  return Destination::kRelay;
}

// Puts the true peer in place of the relay that the packet came from.
void correct_source(int fd, sockaddr* source, socklen_t* length, socklen_t room) {
  local::Address relay;
  if (source == nullptr || length == nullptr || *length == 0 || !is_active() ||
      !to_local(source, least(*length, room), &relay)) {
    return;
  }
  RecordRef record(fd, RecordType::kSocket);
  if (!record) {
    return;
  }
  const SocketRecord& socket = record->socket;
  const local::Address* remote = socket.is_connected && is_same(socket.relay, relay)
                                     ? &socket.remote
                                     : find_remote(socket, relay);
  if (remote != nullptr) {
    *length = room;
    to_program(*remote, source->sa_family, source, length);
  }
}

ssize_t send_to_relay(int fd, const msghdr* message, int flags, sockaddr_storage* relay,
                      socklen_t relay_length) {
  msghdr copy = *message;  // the program's own header stays as it is
  copy.msg_name = relay;
  copy.msg_namelen = relay_length;
  return ORIGINAL(sendmsg)(fd, &copy, flags);
}

}  // namespace
}  // namespace mirrord::hook

using namespace mirrord::hook;

ssize_t hk_sendto(int fd, const void* bytes, size_t size, int flags, const sockaddr* address,
                  socklen_t length) {
  sockaddr_storage relay;
  socklen_t relay_length = 0;
  if (address == nullptr) {
    return ORIGINAL(sendto)(fd, bytes, size, flags, address, length);
  }
  if ((flags & MSG_FASTOPEN) != 0 && is_active()) {  // connect and send in one call
    if (hk_connect(fd, address, length) != 0 && errno != EISCONN) {
      return -1;
    }
    return ORIGINAL(sendto)(fd, bytes, size, flags & ~MSG_FASTOPEN, nullptr, 0);
  }
  switch (choose_destination(fd, address, length, &relay, &relay_length)) {
    case Destination::kOriginal:
      return ORIGINAL(sendto)(fd, bytes, size, flags, address, length);
    case Destination::kRelay:
      return ORIGINAL(sendto)(fd, bytes, size, flags, reinterpret_cast<sockaddr*>(&relay),
                              relay_length);
    case Destination::kError:
      break;
  }
  return -1;
}

ssize_t hk_sendmsg(int fd, const msghdr* message, int flags) {
  sockaddr_storage relay;
  socklen_t relay_length = 0;
  if (message == nullptr || message->msg_name == nullptr) {
    return ORIGINAL(sendmsg)(fd, message, flags);
  }
  switch (choose_destination(fd, static_cast<const sockaddr*>(message->msg_name),
                             message->msg_namelen, &relay, &relay_length)) {
    case Destination::kOriginal:
      return ORIGINAL(sendmsg)(fd, message, flags);
    case Destination::kRelay:
      return send_to_relay(fd, message, flags, &relay, relay_length);
    case Destination::kError:
      break;
  }
  return -1;
}

int hk_sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  bool has_names = false;
  for (unsigned i = 0; messages != nullptr && i < count && !has_names; ++i) {
    has_names = messages[i].msg_hdr.msg_name != nullptr;
  }
  if (!has_names || !is_active()) {
    return ORIGINAL(sendmmsg)(fd, messages, count, flags);
  }
  for (unsigned i = 0; i < count; ++i) {
    const ssize_t sent = hk_sendmsg(fd, &messages[i].msg_hdr, flags);
    if (sent < 0) {
      return i > 0 ? static_cast<int>(i) : -1;
    }
    messages[i].msg_len = static_cast<unsigned>(sent);
  }
  return static_cast<int>(count);
}

ssize_t hk_recvfrom(int fd, void* bytes, size_t size, int flags, sockaddr* source,
                    socklen_t* length) {
  const socklen_t room = length != nullptr ? *length : 0;
  const ssize_t result = ORIGINAL(recvfrom)(fd, bytes, size, flags, source, length);
  if (result >= 0) {
    correct_source(fd, source, length, room);
  }
  return result;
}

ssize_t hk___recvfrom_chk(int fd, void* bytes, size_t size, size_t, int flags, sockaddr* source,
                          socklen_t* length) {
  return hk_recvfrom(fd, bytes, size, flags, source, length);
}

ssize_t hk_recvmsg(int fd, msghdr* message, int flags) {
  const socklen_t room = message != nullptr ? message->msg_namelen : 0;
  const ssize_t result = ORIGINAL(recvmsg)(fd, message, flags);
  if (result >= 0) {
    correct_source(fd, static_cast<sockaddr*>(message->msg_name), &message->msg_namelen, room);
  }
  return result;
}

int hk_recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  const bool has_rooms = messages != nullptr && count > 0;
  const socklen_t room = has_rooms ? messages[0].msg_hdr.msg_namelen : 0;
  const int received = ORIGINAL(recvmmsg)(fd, messages, count, flags, timeout);
  for (int i = 0; i < received; ++i) {
    msghdr& header = messages[i].msg_hdr;
    correct_source(fd, static_cast<sockaddr*>(header.msg_name), &header.msg_namelen, room);
  }
  return received;
}
