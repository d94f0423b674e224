// net/descriptor_packet.cpp — sendmsg and recvmsg with at most one descriptor.
#include "net/descriptor_packet.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace mirrord::net {
namespace {

constexpr std::size_t kMostDescriptors = 4;  // more are closed by the kernel

}  // namespace

Status send_descriptor_packet(int socket, std::span<const iovec> parts, int descriptor) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());  // only read
  message.msg_iovlen = parts.size();
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  if (descriptor >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
  }
  ssize_t count = 0;
  do {
    count = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  if (count < 0) {
    return fail_system("send a packet", errno);
  }
  return {};
}

Result<DescriptorPacket> receive_descriptor_packet(int socket, std::span<std::byte> buffer) {
  iovec part{buffer.data(), buffer.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMostDescriptors)> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t count = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (count < 0) {
    return fail_system("receive a packet", errno);
  }
  DescriptorPacket packet;
  packet.size = static_cast<std::size_t>(count);
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const std::size_t descriptors = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < descriptors; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      packet.descriptor.reset(fd);  // of several, the last
    }
  }
  if ((message.msg_flags & MSG_TRUNC) != 0) {
    return fail(ErrorCode::kPeer, "receive a packet: it is longer than is allowed");
  }
  return packet;
}

}  // namespace mirrord::net
