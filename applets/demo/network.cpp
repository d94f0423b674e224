// applets/demo/network.cpp — interfaces and addresses of the pod's network namespace, by rtnetlink.
#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <set>
#include <string>

#include "applets/demo/pod.h"

namespace mirrord::demo {
namespace {

// One rtnetlink request under construction; attributes may nest.
class Request {
 public:
  template <class Body>
  Request(std::uint16_t type, std::uint16_t flags, const Body& body) {
    nlmsghdr header{};
    header.nlmsg_type = type;
    header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    add(&header, sizeof header);
    add(&body, sizeof body);
  }
  void attribute(std::uint16_t type, const void* data, std::size_t size) {
    const std::size_t at = begin(type);
    add(data, size);
    end(at);
  }
  void attribute(std::uint16_t type, std::string_view text) {
    attribute(type, text.data(), text.size());
  }
  [[nodiscard]] std::size_t begin(std::uint16_t type) {
    const std::size_t at = bytes_.size();
    const rtattr header{.rta_len = 0, .rta_type = type};
    add(&header, sizeof header);
    return at;
  }
  void end(std::size_t at) {
    const auto length = static_cast<std::uint16_t>(bytes_.size() - at);
    std::memcpy(bytes_.data() + at, &length, sizeof length);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }
  void add(const void* data, std::size_t size) {
    bytes_.append(static_cast<const char*>(data), size);
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }
  // Sends it and returns the kernel's verdict: 0 or an errno.
  [[nodiscard]] int send(int socket) {
    const auto length = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &length, sizeof length);
    if (::send(socket, bytes_.data(), bytes_.size(), 0) < 0)
      return errno;
    struct {
      nlmsghdr header;
      nlmsgerr verdict;
      std::array<char, 4096> rest;
    } answer{};
    if (::recv(socket, &answer, sizeof answer, 0) < 0)
      return errno;
    return answer.header.nlmsg_type == NLMSG_ERROR ? -answer.verdict.error : EPROTO;
  }

 private:
  std::string bytes_;
};

int add_dummy(int socket) {
  Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
  request.attribute(IFLA_IFNAME, "eth0");
  const std::size_t information = request.begin(IFLA_LINKINFO);
  request.attribute(IFLA_INFO_KIND, "dummy");
  request.end(information);
  return request.send(socket);
}

// Both ends stay in the pod: what counts is that eth0 exists and is up.
int add_pair(int socket) {
  Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
  request.attribute(IFLA_IFNAME, "eth0");
  const std::size_t information = request.begin(IFLA_LINKINFO);
  request.attribute(IFLA_INFO_KIND, "veth");
  const std::size_t data = request.begin(IFLA_INFO_DATA);
  const std::size_t peer = request.begin(VETH_INFO_PEER);
  const ifinfomsg peer_header{};
  request.add(&peer_header, sizeof peer_header);
  request.attribute(IFLA_IFNAME, "eth0-peer");
  request.end(peer);
  request.end(data);
  request.end(information);
  return request.send(socket);
}

int bring_up(int socket, const char* name) {
  ifinfomsg link{};
  link.ifi_index = static_cast<int>(if_nametoindex(name));
  link.ifi_flags = IFF_UP;
  link.ifi_change = IFF_UP;
  return Request(RTM_NEWLINK, 0, link).send(socket);
}

int add_address(int socket, const char* interface, const char* text, unsigned char prefix_v4) {
  std::array<unsigned char, 16> bytes{};
  const bool is_v6 = std::strchr(text, ':') != nullptr;
  if (inet_pton(is_v6 ? AF_INET6 : AF_INET, text, bytes.data()) != 1)
    return EINVAL;
  ifaddrmsg body{};
  body.ifa_family = is_v6 ? AF_INET6 : AF_INET;
  body.ifa_prefixlen = is_v6 ? 128 : prefix_v4;
  body.ifa_flags = is_v6 ? IFA_F_NODAD : 0;  // usable at once
  body.ifa_index = if_nametoindex(interface);
  Request request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body);
  const std::size_t size = is_v6 ? 16 : 4;
  request.attribute(IFA_LOCAL, bytes.data(), size);
  request.attribute(IFA_ADDRESS, bytes.data(), size);
  return request.send(socket);
}

}  // namespace

Status make_network() {
  const Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket.is_open())
    return fail_system("open a netlink socket", errno);
  if (const int error = bring_up(socket.get(), "lo"); error != 0)
    return fail_system("bring up the loopback interface", error);
  // Without either driver every address lives on the loopback interface: that works as well.
  const char* interface = "lo";
  if (add_dummy(socket.get()) == 0 || add_pair(socket.get()) == 0) {
    interface = "eth0";
    if (const int error = bring_up(socket.get(), interface); error != 0)
      return fail_system("bring up eth0", error);
    if (if_nametoindex("eth0-peer") != 0)
      static_cast<void>(bring_up(socket.get(), "eth0-peer"));
  }
  if (const int error = add_address(socket.get(), interface, kPodAddress, 24); error != 0)
    return fail_system(std::string("add the address ") + kPodAddress, error);
  std::set<std::string_view> known{kPodAddress};
  for (const Name& name : pod_names()) {
    // The other pods of "headless" are names without anybody behind them.
    if (!known.insert(name.address).second || std::string_view(name.address).starts_with("10.244."))
      continue;
    const int error = add_address(socket.get(), interface, name.address, 32);
    const bool has_no_ipv6 = error == EOPNOTSUPP || error == EACCES;
    if (error != 0 && !(has_no_ipv6 && std::strchr(name.address, ':') != nullptr))
      return fail_system(std::string("add the address ") + name.address, error);
  }
  return {};
}

}  // namespace mirrord::demo
