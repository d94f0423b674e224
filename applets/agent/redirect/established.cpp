// applets/agent/redirect/established.cpp — lists and ends sockets over netlink.
#include "applets/agent/redirect/established.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <string>

#include "applets/agent/privileges.h"
#include "net/fd.h"

namespace mirrord::agent {
namespace {

struct DiagnosisRequest {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

Result<Fd> open_diagnosis_socket() {
  Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!socket)
    return fail_system("open a netlink socket about sockets", errno);
  return socket;
}

int send_request(int socket, int type, int flags, const inet_diag_req_v2& body) {
  DiagnosisRequest request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = static_cast<std::uint16_t>(type);
  request.header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  request.body = body;
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  return ::sendto(socket, &request, sizeof request, 0, reinterpret_cast<sockaddr*>(&kernel),
                  sizeof kernel) < 0
             ? errno
             : 0;
}

// Hands every message that has arrived to `take(type, payload)`, until it says that it was the last.
// The kernel makes its answers while they are asked for: nothing blocks. 0 or an errno.
template <class Take>
int read_answers(int socket, Take take) {
  std::array<std::byte, 32'768> room{};
  while (true) {
    const ssize_t count = ::recv(socket, room.data(), room.size(), MSG_DONTWAIT);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return count == 0 ? EPROTO : errno;
    auto rest = std::span<const std::byte>(room).first(static_cast<std::size_t>(count));
    while (rest.size() >= sizeof(nlmsghdr)) {
      nlmsghdr header{};
      std::memcpy(&header, rest.data(), sizeof header);
      if (header.nlmsg_len < sizeof header || header.nlmsg_len > rest.size())
        return EPROTO;
      if (take(header.nlmsg_type, rest.subspan(sizeof header, header.nlmsg_len - sizeof header)))
        return 0;
      rest = rest.subspan(std::min(rest.size(), std::size_t{NLMSG_ALIGN(header.nlmsg_len)}));
    }
  }
}

int error_in(std::span<const std::byte> payload) {
  int code = -EPROTO;
  if (payload.size() >= sizeof code)
    std::memcpy(&code, payload.data(), sizeof code);
  return -code;
}

}  // namespace

Result<EstablishedConnections> EstablishedConnections::find(std::uint16_t port) {
  const std::string tried = "list the connections to port " + std::to_string(port);
  MIRRORD_TRY(socket, open_diagnosis_socket());
  EstablishedConnections found;
  for (const std::uint8_t family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}}) {
    inet_diag_req_v2 wanted{};
    wanted.sdiag_family = family;
    wanted.sdiag_protocol = IPPROTO_TCP;
    wanted.idiag_states = 1U << TCP_ESTABLISHED;
    wanted.id.idiag_sport = htons(port);
    int error = send_request(socket.get(), SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, wanted);
    int refusal = 0;
    const auto take = [&](int type, std::span<const std::byte> payload) {
      if (type == NLMSG_DONE)
        return true;
      if (type == NLMSG_ERROR) {
        refusal = error_in(payload);
        return true;
      }
      inet_diag_msg message{};
      if (payload.size() < sizeof message)
        return false;
      std::memcpy(&message, payload.data(), sizeof message);
      if (message.id.idiag_sport == htons(port) && found.connections_.size() < kMax)
        found.connections_.push_back({message.idiag_family, message.id});
      return false;
    };
    if (error == 0)
      error = read_answers(socket.get(), take);
    if (error == 0)
      error = refusal;
    // A kernel without IPv6 has none of it.
    if (error != 0 && !(family == AF_INET6 && (error == ENOENT || error == EAFNOSUPPORT)))
      return fail_system(tried, error);
  }
  return found;
}

Result<std::size_t> EstablishedConnections::cut() const {
  if (connections_.empty())
    return 0;
  MIRRORD_TRY(socket, open_diagnosis_socket());
  const RaisedNetAdmin raised;
  std::size_t count = 0;
  int failure = 0;
  for (const Connection& connection : connections_) {
    inet_diag_req_v2 doomed{};
    doomed.sdiag_family = connection.family;
    doomed.sdiag_protocol = IPPROTO_TCP;
    doomed.idiag_states = 1U << TCP_ESTABLISHED;
    doomed.id = connection.id;
    int refusal = 0;
    int error = send_request(socket.get(), SOCK_DESTROY, NLM_F_ACK, doomed);
    if (error == 0) {
      error = read_answers(socket.get(), [&](int type, std::span<const std::byte> payload) {
        if (type == NLMSG_ERROR)
          refusal = error_in(payload);
        return type == NLMSG_ERROR;
      });
    }
    if (error == 0)
      error = refusal;
    if (error == 0)
      ++count;
    else if (error != ENOENT && failure == 0)
      failure = error;
  }
  if (failure != 0) {
    return fail_system("end " + std::to_string(connections_.size() - count) +
                           " connections that were there before",
                       failure);
  }
  return count;
}

}  // namespace mirrord::agent
