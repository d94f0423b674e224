// applets/agent/redirect/netfilter_batch.cpp — lays out messages and attributes, reads the kernel's answer.
#include "applets/agent/redirect/netfilter_batch.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace mirrord::agent {
namespace {

constexpr std::size_t aligned(std::size_t size) {
  return (size + NLMSG_ALIGNTO - 1) & ~std::size_t{NLMSG_ALIGNTO - 1};
}

}  // namespace

NetfilterBatch::NetfilterBatch() {
  begin_message(NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
}

void NetfilterBatch::message(int type, int flags) {
  begin_message(NFNL_SUBSYS_NFTABLES << 8 | type, flags, NFPROTO_INET, 0);
}

void NetfilterBatch::begin_message(int type, int flags, int family, int resource) {
  end_message();
  message_begin_ = buffer_.size();
  is_in_message_ = true;
  nlmsghdr header{};
  header.nlmsg_type = static_cast<std::uint16_t>(type);
  header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  header.nlmsg_seq = ++sequence_;
  nfgenmsg general{};
  general.nfgen_family = static_cast<std::uint8_t>(family);
  general.version = NFNETLINK_V0;
  general.res_id = htons(static_cast<std::uint16_t>(resource));
  append(&header, sizeof header);
  append(&general, sizeof general);
}

void NetfilterBatch::end_message() {
  if (!is_in_message_)
    return;
  const auto length = static_cast<std::uint32_t>(buffer_.size() - message_begin_);
  std::memcpy(buffer_.data() + message_begin_, &length, sizeof length);  // nlmsg_len comes first
}

void NetfilterBatch::append(const void* data, std::size_t size) {
  const std::size_t begin = buffer_.size();
  buffer_.resize(begin + aligned(size));
  std::memcpy(buffer_.data() + begin, data, size);
}

std::size_t NetfilterBatch::open(int attribute) {
  const std::size_t begin = buffer_.size();
  const nlattr header{0, static_cast<std::uint16_t>(attribute | NLA_F_NESTED)};
  append(&header, sizeof header);
  return begin;
}

void NetfilterBatch::close(std::size_t begin) {
  const auto length = static_cast<std::uint16_t>(buffer_.size() - begin);
  std::memcpy(buffer_.data() + begin, &length, sizeof length);  // nla_len comes first
}

void NetfilterBatch::bytes(int attribute, std::span<const std::byte> value) {
  const nlattr header{static_cast<std::uint16_t>(sizeof(nlattr) + value.size()),
                      static_cast<std::uint16_t>(attribute)};
  append(&header, sizeof header);
  append(value.data(), value.size());
}

void NetfilterBatch::text(int attribute, std::string_view value) {
  const std::string ended(value);
  bytes(attribute, std::as_bytes(std::span(ended.c_str(), ended.size() + 1)));
}

void NetfilterBatch::number(int attribute, std::uint32_t value) {
  const std::uint32_t big_endian = htonl(value);
  bytes(attribute, std::as_bytes(std::span(&big_endian, 1)));
}

Status NetfilterBatch::commit(int socket, const std::string& tried) {
  begin_message(NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
  end_message();
  is_in_message_ = false;
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (::sendto(socket, buffer_.data(), buffer_.size(), 0, reinterpret_cast<sockaddr*>(&kernel),
               sizeof kernel) < 0)
    return fail_system(tried, errno);
  std::array<std::byte, 8192> room{};
  int error = 0;
  while (true) {
    const ssize_t count = ::recv(socket, room.data(), room.size(), MSG_DONTWAIT);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      break;
    auto rest = std::span(room).first(static_cast<std::size_t>(count));
    while (rest.size() >= sizeof(nlmsghdr)) {
      nlmsghdr header{};
      std::memcpy(&header, rest.data(), sizeof header);
      if (header.nlmsg_len < sizeof header || header.nlmsg_len > rest.size())
        break;
      int code = 0;
      if (header.nlmsg_type == NLMSG_ERROR && header.nlmsg_len >= sizeof header + sizeof code)
        std::memcpy(&code, rest.data() + sizeof header, sizeof code);
      if (error == 0)
        error = -code;
      rest = rest.subspan(std::min(rest.size(), aligned(header.nlmsg_len)));
    }
  }
  return error == 0 ? Status() : fail_system(tried, error);
}

Result<Fd> open_netfilter_socket() {
  Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!socket)
    return fail_system("open a netlink socket for nftables", errno);
  sockaddr_nl own{};
  own.nl_family = AF_NETLINK;
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&own), sizeof own) != 0)
    return fail_system("bind a netlink socket for nftables", errno);
  return socket;
}

}  // namespace mirrord::agent
