// hook/socket_calls.cpp — socket options, binding and requests that connect and send share.
#include "hook/socket_calls.h"

#include "hook/address.h"
#include "hook/ipc.h"
#include "hook/net_rules.h"
#include "hook/original.h"
#include "hook/session.h"

namespace mirrord::hook {

int socket_option(int fd, int option) {
  int value = -1;
  socklen_t size = sizeof value;
  return failed(raw(SYS_getsockopt, fd, SOL_SOCKET, option, &value, &size)) ? -1 : value;
}

bool is_local_for_all(const local::Address& remote) {
  const NetRules rules = current_net_rules();
  return decide_connect(rules, local::Transport::kStream, remote) == NetDecision::kLocal &&
         decide_connect(rules, local::Transport::kDatagram, remote) == NetDecision::kLocal;
}

Record* socket_record(int fd, local::Transport transport) {
  {
    RecordRef existing(fd, RecordType::kSocket);
    if (existing) {
      existing->socket.transport = transport;
      return existing.get();  // the descriptor's own reference keeps it
    }
  }
  Record* record = allocate_record(RecordType::kSocket);
  if (record != nullptr) {
    record->socket.transport = transport;
    attach(fd, record);
  }
  return record;
}

int bind_for_relay(int fd, local::Transport transport, const local::Address& remote,
                   local::Address* own, bool* is_ours) {
  sockaddr_storage storage = {};
  socklen_t length = sizeof storage;
  const long named = raw(SYS_getsockname, fd, &storage, &length);
  if (failed(named)) {
    return static_cast<int>(-named);
  }
  const int family = storage.ss_family;
  local::Address loopback = {};
  loopback.family = remote.family;
  loopback.length = remote.length;
  loopback.data[remote.family == AF_INET ? 0 : 15] = remote.family == AF_INET ? 127 : 1;
  if (remote.family == AF_INET) {
    loopback.data[3] = 1;
  }
  const bool is_unbound =
      !to_local(reinterpret_cast<sockaddr*>(&storage), length, own) || own->port == 0;
  if (is_ours != nullptr) {
    *is_ours = is_unbound;
  }
  if (is_unbound) {
    // A datagram socket may talk to other peers later: it stays open to all addresses.
    sockaddr_storage wanted;
    local::Address any = loopback;
    if (transport == local::Transport::kDatagram) {
      any = local::Address{};
      any.family = static_cast<uint16_t>(family);
      any.length = family == AF_INET ? 4 : 16;
    }
    const socklen_t wanted_length = to_sockaddr(any, family, &wanted);
    const long bound = raw(SYS_bind, fd, &wanted, wanted_length);
    length = sizeof storage;
    if (failed(bound)) {
      return static_cast<int>(-bound);
    }
    raw(SYS_getsockname, fd, &storage, &length);
    to_local(reinterpret_cast<sockaddr*>(&storage), length, own);
  }
  if (is_unspecified(*own)) {  // packets to the relay leave from loopback
    loopback.port = own->port;
    *own = loopback;
  }
  return 0;
}

bool is_bypassed_by_intproxy(local::Transport transport, const local::Address& remote) {
  local::ConnectReply reply = {};
  return request_connection(transport, false, remote, local::Address{}, &reply) == 0 &&
         reply.state == local::ConnectState::kBypass;
}

int request_connection(local::Transport transport, bool wait, const local::Address& remote,
                       const local::Address& own, local::ConnectReply* reply, int socket) {
  const local::ConnectRequest fixed = {transport, wait ? 1U : 0U, remote, own};
  const Request request = {local::MessageType::kConnect, &fixed, sizeof fixed, nullptr, 0, socket};
  Answer answer = {reply, sizeof *reply, nullptr, 0, 0, -1, false};
  return call(request, answer, ECONNREFUSED);
}

}  // namespace mirrord::hook
