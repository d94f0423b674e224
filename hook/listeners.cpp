// hook/listeners.cpp — bind, listen, accept and shutdown: listeners that get the target's traffic.
//
// A listener and what it accepts stay the program's own sockets. The connections come from the intproxy;
// who is really behind them stands in a shared table (incoming.h). Where the wanted address cannot be
// had here, the socket is bound to another one and the hook answers for its name.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "hook/address.h"
#include "hook/incoming.h"
#include "hook/ipc.h"
#include "hook/original.h"
#include "hook/report.h"
#include "hook/socket_calls.h"

namespace mirrord::hook {
namespace {

bool is_internet(const sockaddr* address) {
  return address != nullptr && (address->sa_family == AF_INET || address->sa_family == AF_INET6);
}

bool local_name(int fd, local::Address* out) {
  sockaddr_storage storage = {};
  socklen_t length = sizeof storage;
  return !failed(raw(SYS_getsockname, fd, &storage, &length)) &&
         to_local(reinterpret_cast<sockaddr*>(&storage), length, out) && out->family != AF_UNIX;
}

bool transport_of(int fd, local::Transport* transport) {
  const int type = socket_option(fd, SO_TYPE);
  *transport = type == SOCK_DGRAM ? local::Transport::kDatagram : local::Transport::kStream;
  return type == SOCK_STREAM || type == SOCK_DGRAM;
}

// A listener of the session. One that was closed a moment ago may still be in the table.
bool find_live_listener(const local::Address& wanted, local::Address* actual) {
  if (!find_listener(wanted, actual)) {
    return false;
  }
  Answer answer;
  const Request request = {local::MessageType::kCheckListeners, nullptr, 0, nullptr, 0, -1};
  return call(request, answer, EIO) != 0 || find_listener(wanted, actual);
}

// Another listener of the session, or a socket of this process, that is in the way.
bool is_taken(int fd, const local::Address& wanted, local::Address* actual) {
  if (has_flag(local::kIncoming) && find_live_listener(wanted, actual)) {
    return true;
  }
  const int end = fd_table_end.load(std::memory_order_acquire);
  for (int other = 0; other < end; ++other) {
    const RecordRef record(other, RecordType::kSocket);
    if (record && other != fd && record->socket.is_bound &&
        record->socket.transport == local::Transport::kStream &&
        overlaps(wanted, record->socket.requested) && local_name(other, actual)) {
      return true;
    }
  }
  return false;
}

void note_elsewhere(const local::Address& wanted, const local::Address& actual, int error) {
  TextBuffer<200> text;
  text.text("port ").number(wanted.port).text(" cannot be bound here (errno ");
  text.number(static_cast<uint64_t>(error)).text("): the program has port ").number(actual.port);
  text.text(" of this machine and sees the one it asked for");
  tell_log(local::MessageType::kLog, text.c_str(), text.size());
}

int bind_raw(int fd, const local::Address& address, int family) {
  sockaddr_storage storage;
  const socklen_t length = to_sockaddr(address, family, &storage);
  const long result = raw(SYS_bind, fd, &storage, length);
  return failed(result) ? static_cast<int>(-result) : 0;
}

local::Address loopback_like(const local::Address& address) {
  local::Address loopback = {};
  loopback.family = address.family;
  loopback.length = address.length;
  loopback.port = address.port;
  loopback.data[0] = address.family == AF_INET ? 127 : 0;
  loopback.data[address.family == AF_INET ? 3 : 15] = 1;
  return loopback;
}

// The address wanted, then the same on loopback where it is another machine's; each with any port
// where `any_port` says so. 0 or the last errno.
int bind_somewhere(int fd, local::Address address, uint16_t port, bool any_port, int error) {
  const int family = socket_option(fd, SO_DOMAIN);
  const uint16_t ports[2] = {port, 0};
  for (int is_moved = error == EADDRNOTAVAIL ? 1 : 0; is_moved < 2; ++is_moved) {
    if (is_moved != 0) {
      if (is_unspecified(address) || is_loopback(address)) {
        break;
      }
      address = loopback_like(address);
    }
    for (int i = 0; i < (any_port ? 2 : 1); ++i) {
      address.port = ports[i];
      error = bind_raw(fd, address, family);
      if (error == 0) {
        return 0;
      }
    }
  }
  return error;
}

void remember_bound(int fd, local::Transport transport, const local::Address& wanted,
                    bool is_elsewhere) {
  if (Record* record = socket_record(fd, transport)) {
    record->socket.is_bound = true;
    record->socket.is_elsewhere = is_elsewhere;
    record->socket.requested = wanted;
  }
}

// The original bind has failed with `error`, or must not be tried (0). 0 or an errno.
int bind_elsewhere(int fd, local::Transport transport, const local::Address& wanted, int error) {
  const uint16_t fixed = has_flag(local::kIncoming) ? fixed_port(wanted.port) : 0;
  local::Address actual = {};
  int result;
  if (transport == local::Transport::kStream && wanted.port != 0 && is_taken(fd, wanted, &actual)) {
    if (socket_option(fd, SO_REUSEPORT) != 1) {
      return EADDRINUSE;
    }
    result = bind_raw(fd, actual, socket_option(fd, SO_DOMAIN));
  } else {
    result = bind_somewhere(fd, wanted, fixed != 0 ? fixed : wanted.port, fixed == 0, error);
  }
  if (result != 0) {
    return result;
  }
  remember_bound(fd, transport, wanted, true);
  if (local_name(fd, &actual) && error != 0) {
    note_elsewhere(wanted, actual, error);
  }
  return 0;
}

// Whether a failed bind is worth another address: the program runs as if it were the target, whose
// addresses and low ports this machine does not have.
bool may_be_elsewhere(const local::Address& wanted, local::Transport transport, int error) {
  switch (error) {
    case EADDRNOTAVAIL:
      return true;
    case EACCES:
    case EADDRINUSE:
      return transport == local::Transport::kStream && has_flag(local::kIncoming) &&
             takes_port(wanted);
    default:
      return false;
  }
}

void announce(int fd, local::Transport transport, uint16_t port) {
  Record* record = socket_record(fd, transport);
  if (record == nullptr || record->socket.listening_port == port) {
    return;
  }
  record->socket.listening_port = port;
  const local::ListeningRequest fixed = {port, 1};
  notify({local::MessageType::kListening, &fixed, sizeof fixed, nullptr, 0, -1});
}

// 0 or an errno.
int bind_as_target(int fd, const sockaddr* address, socklen_t length,
                   const local::Address& wanted) {
  local::Transport transport;
  const bool is_known = transport_of(fd, &transport);
  const bool is_moved = is_known && has_flag(local::kIncoming) && fixed_port(wanted.port) != 0;
  const int error = is_moved || ORIGINAL(bind)(fd, address, length) == 0 ? 0 : errno;
  if (!is_known || (error != 0 && !may_be_elsewhere(wanted, transport, error))) {
    return error;
  }
  if (is_moved || error != 0) {
    const int failure = bind_elsewhere(fd, transport, wanted, error);
    if (failure != 0) {
      return failure;
    }
  } else if (has_flag(local::kIncoming) && takes_port(wanted)) {
    remember_bound(fd, transport, wanted, false);
  }
  // A bound datagram socket is a server without listen: its port on loopback stays local.
  local::Address actual;
  if (transport == local::Transport::kDatagram && local_name(fd, &actual)) {
    announce(fd, transport, actual.port);
  }
  return 0;
}

uint64_t inode_of(int fd) {
  struct stat status = {};
  return failed(raw(SYS_fstat, fd, &status)) ? 0 : status.st_ino;
}

// Has the target's traffic sent to a socket that listens. 0 or an errno.
int take_traffic(int fd, Record* record, const local::Address& actual) {
  SocketRecord& socket = record->socket;
  if (!socket.is_bound || socket.gets_incoming || !takes_port(socket.requested)) {
    return 0;
  }
  const local::ListenRequest fixed = {inode_of(fd), socket.requested, actual};
  Answer answer;
  const Request request = {local::MessageType::kListen, &fixed, sizeof fixed, nullptr, 0, -1};
  const int error = call(request, answer, EIO);
  if (error != 0) {
    return error;
  }
  socket.inode = fixed.inode;
  socket.gets_incoming = true;
  map_incoming_table();
  // What is accepted inherits it: answers in small pieces shall not wait for the intproxy's
  // acknowledgements.
  const int on = 1;
  raw(SYS_setsockopt, fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return 0;
}

// 0 or an errno.
int note_listener(int fd) {
  local::Address actual;
  local::Transport transport;
  if (!local_name(fd, &actual) || !transport_of(fd, &transport)) {
    return 0;
  }
  announce(fd, transport, actual.port);
  Record* record = has_flag(local::kIncoming) ? socket_record(fd, transport) : nullptr;
  return record != nullptr && transport == local::Transport::kStream
             ? take_traffic(fd, record, actual)
             : 0;
}

// Calls the original with room of our own, and says who is really there.
template <class Accept>
int accept_with(Accept original, sockaddr* address, socklen_t* length) {
  if (address == nullptr || length == nullptr || !has_incoming()) {
    return original(address, length);
  }
  sockaddr_storage storage;
  socklen_t peer_length = sizeof storage;
  const int fd = original(reinterpret_cast<sockaddr*>(&storage), &peer_length);
  if (fd < 0) {
    return fd;
  }
  local::Address peer;
  RealAddresses real;
  if (to_local(reinterpret_cast<sockaddr*>(&storage), peer_length, &peer) &&
      find_real_addresses(peer, &real)) {
    to_program(real.remote, storage.ss_family, address, length);
  } else {
    __builtin_memcpy(address, &storage, least(*length, peer_length));
    *length = peer_length;
  }
  return fd;
}

}  // namespace
}  // namespace mirrord::hook

using namespace mirrord::hook;
namespace local = mirrord::local;

int hk_bind(int fd, const sockaddr* address, socklen_t length) {
  local::Address wanted;
  if (!is_active() || !is_internet(address) || !to_local(address, length, &wanted)) {
    return ORIGINAL(bind)(fd, address, length);
  }
  int error;
  {
    const SavedErrno saved;
    error = bind_as_target(fd, address, length, wanted);
  }
  return error == 0 ? 0 : fail_with(error);
}

int hk_listen(int fd, int backlog) {
  const int result = ORIGINAL(listen)(fd, backlog);
  if (result != 0 || !is_active()) {
    return result;
  }
  int error;
  {
    const SavedErrno saved;
    error = note_listener(fd);
    if (error != 0) {
      raw(SYS_shutdown, fd, SHUT_RD);  // it listens no longer
    }
  }
  return error == 0 ? 0 : fail_with(error);
}

int hk_accept(int fd, sockaddr* address, socklen_t* length) {
  return accept_with([fd](sockaddr* to, socklen_t* size) { return ORIGINAL(accept)(fd, to, size); },
                     address, length);
}

int hk_accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
  return accept_with(
      [fd, flags](sockaddr* to, socklen_t* size) { return ORIGINAL(accept4)(fd, to, size, flags); },
      address, length);
}

int hk_shutdown(int fd, int how) {
  const int result = ORIGINAL(shutdown)(fd, how);
  if (result == 0 && is_active() && has_record(fd)) {
    const RecordRef record(fd, RecordType::kSocket);
    if (record && record->socket.gets_incoming && socket_option(fd, SO_ACCEPTCONN) == 0) {
      const SavedErrno saved;
      leave_listener(record->socket);
    }
  }
  return result;
}
