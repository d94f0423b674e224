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

bool send(int socket, std::span<const std::byte> bytes) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  return ::sendto(socket, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&kernel),
                  sizeof kernel) >= 0;
}

// Everything that the kernel has answered. `use` gets each message's header and what follows it.
template <class Use>
void for_each_answer(int socket, Use use) {
  std::array<std::byte, 16384> room{};
  while (true) {
    const ssize_t count = ::recv(socket, room.data(), room.size(), MSG_DONTWAIT);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return;
    auto rest = std::span<const std::byte>(room).first(static_cast<std::size_t>(count));
    while (rest.size() >= sizeof(nlmsghdr)) {
      nlmsghdr header{};
      std::memcpy(&header, rest.data(), sizeof header);
      if (header.nlmsg_len < sizeof header || header.nlmsg_len > rest.size())
        break;
      use(header, rest.subspan(sizeof header, header.nlmsg_len - sizeof header));
      rest = rest.subspan(std::min(rest.size(), aligned(header.nlmsg_len)));
    }
  }
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

std::vector<std::byte> NetfilterBatch::finish() {
  begin_message(NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
  end_message();
  is_in_message_ = false;
  return std::move(buffer_);
}

Status NetfilterBatch::commit(int socket, const std::string& tried) {
  const std::vector<std::byte> batch = finish();
  if (!send(socket, batch))
    return fail_system(tried, errno);
  int error = 0;
  for_each_answer(socket, [&](const nlmsghdr& header, std::span<const std::byte> content) {
    int code = 0;
    if (header.nlmsg_type == NLMSG_ERROR && content.size() >= sizeof code)
      std::memcpy(&code, content.data(), sizeof code);
    if (error == 0)
      error = -code;
  });
  return error == 0 ? Status() : fail_system(tried, error);
}

std::vector<std::string> netfilter_tables(int socket) {
  struct {
    nlmsghdr header;
    nfgenmsg general;
  } request{{sizeof request, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE,
             NLM_F_REQUEST | NLM_F_DUMP, 1, 0},
            {NFPROTO_INET, NFNETLINK_V0, 0}};
  std::vector<std::string> names;
  if (!send(socket, std::as_bytes(std::span(&request, 1))))
    return names;
  for_each_answer(socket, [&](const nlmsghdr& header, std::span<const std::byte> content) {
    if (header.nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE) ||
        content.size() < sizeof(nfgenmsg))
      return;
    std::span<const std::byte> rest = content.subspan(sizeof(nfgenmsg));
    while (rest.size() >= sizeof(nlattr)) {
      nlattr attribute{};
      std::memcpy(&attribute, rest.data(), sizeof attribute);
      if (attribute.nla_len < sizeof attribute || attribute.nla_len > rest.size())
        return;
      if (attribute.nla_type == NFTA_TABLE_NAME) {
        const auto* text = reinterpret_cast<const char*>(rest.data() + sizeof attribute);
        names.emplace_back(text, strnlen(text, attribute.nla_len - sizeof attribute));
      }
      rest = rest.subspan(std::min(rest.size(), aligned(attribute.nla_len)));
    }
  });
  return names;
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
