// applets/intproxy/listening_sockets.cpp — listening sockets by inet_diag (sock_diag(7)) or /proc/net.
#include "applets/intproxy/listening_sockets.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "net/fd.h"

namespace mirrord::intproxy {
namespace {

constexpr std::uint8_t kListen = 10;  // TCP_LISTEN of the kernel's tcp_states.h
constexpr timeval kPatience{.tv_sec = 2, .tv_usec = 0};

using Inodes = std::unordered_set<std::uint64_t>;

// False: the dump is not over.
Result<bool> take(std::span<const std::byte> bytes, Inodes& inodes) {
  while (bytes.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header;
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > bytes.size()) {
      return fail_system("list listening sockets", EPROTO);
    }
    if (header.nlmsg_type == NLMSG_DONE) {
      return true;
    }
    if (header.nlmsg_type == NLMSG_ERROR) {
      return fail_system("list listening sockets", EOPNOTSUPP);
    }
    if (header.nlmsg_len >= sizeof header + sizeof(inet_diag_msg)) {
      inet_diag_msg socket;
      std::memcpy(&socket, bytes.data() + sizeof header, sizeof socket);
      inodes.insert(socket.idiag_inode);
    }
    bytes = bytes.subspan(std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), bytes.size()));
  }
  return false;
}

Status dump(int netlink, std::uint8_t family, Inodes& inodes) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } message{};
  message.header.nlmsg_len = sizeof message;
  message.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  message.request.sdiag_family = family;
  message.request.sdiag_protocol = IPPROTO_TCP;
  message.request.idiag_states = 1U << kListen;
  if (::send(netlink, &message, sizeof message, 0) < 0) {
    return fail_system("list listening sockets", errno);
  }
  alignas(nlmsghdr) std::array<std::byte, 32768> buffer;
  for (;;) {
    const ssize_t count = ::recv(netlink, buffer.data(), buffer.size(), 0);
    if (count <= 0) {
      return fail_system("list listening sockets", count == 0 ? EPROTO : errno);
    }
    MIRRORD_TRY(is_over, take(std::span(buffer).first(static_cast<std::size_t>(count)), inodes));
    if (is_over) {
      return {};
    }
  }
}

// Lines of /proc/net/tcp: "sl local remote st tx:rx tr:tm retrnsmt uid timeout inode …".
struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

// proc_pid_net(5): the state is the fourth field, the inode the tenth.
Status read_table(const char* path, Inodes& inodes) {
  const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path, "re"));
  if (!file) {
    return fail_system("read " + std::string(path), errno);
  }
  std::array<char, 512> line{};
  while (std::fgets(line.data(), line.size(), file.get()) != nullptr) {
    std::array<char, 4> state{};
    std::uint64_t inode = 0;
    if (std::sscanf(line.data(), "%*s %*s %*s %3s %*s %*s %*s %*s %*s %" SCNu64, state.data(),
                    &inode) == 2 &&
        std::string_view(state.data()) == "0A") {
      inodes.insert(inode);
    }
  }
  return {};
}

Result<Inodes> by_netlink() {
  const Fd netlink(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink.is_open()) {
    return fail_system("ask for sockets", errno);
  }
  ::setsockopt(netlink.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  Inodes inodes;
  MIRRORD_CHECK_STATUS(dump(netlink.get(), AF_INET, inodes));
  MIRRORD_CHECK_STATUS(dump(netlink.get(), AF_INET6, inodes));
  return inodes;
}

}  // namespace

Result<Inodes> listening_sockets() {
  if (auto inodes = by_netlink()) {
    return inodes;
  }
  Inodes inodes;
  MIRRORD_CHECK_STATUS(read_table("/proc/net/tcp", inodes));
  (void)read_table("/proc/net/tcp6", inodes);  // a machine may have no IPv6
  return inodes;
}

}  // namespace mirrord::intproxy
