// applets/agent/redirect/netfilter_batch.h — a transaction of nftables changes as the kernel takes it over
// netlink: all of it, or nothing (include/uapi/linux/netfilter/nf_tables.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/error.h"
#include "net/fd.h"

namespace mirrord::agent {

class NetfilterBatch {
 public:
  NetfilterBatch();

  // A message of type NFT_MSG_*; its attributes follow.
  void message(int type, int flags);
  void text(int attribute, std::string_view value);
  void number(int attribute, std::uint32_t value);  // 32 bits, big-endian on the wire
  void bytes(int attribute, std::span<const std::byte> value);
  // Attributes inside an attribute: nest(attribute, [&] { batch.number(…); }).
  template <class Content>
  void nest(int attribute, Content content) {
    const std::size_t begin = open(attribute);
    content();
    close(begin);
  }

  // Sends everything, and fails with what the kernel said of the first message that it refused. Nothing
  // blocks: the kernel has answered when the send returns. Needs CAP_NET_ADMIN in the network namespace.
  [[nodiscard]] Status commit(int socket, const std::string& tried);
  // What commit() would send, for somebody else to send.
  [[nodiscard]] std::vector<std::byte> finish();

 private:
  std::size_t open(int attribute);
  void close(std::size_t begin);
  void begin_message(int type, int flags, int family, int resource);
  void end_message();
  void append(const void* data, std::size_t size);

  std::vector<std::byte> buffer_;
  std::size_t message_begin_ = 0;
  bool is_in_message_ = false;
  std::uint32_t sequence_ = 0;
};

// A netlink socket for batches. What was made with it as an owner goes when it closes.
[[nodiscard]] Result<Fd> open_netfilter_socket();

// The names of all nftables tables of the family inet in this network namespace, as far as they can be had. Needs
// CAP_NET_ADMIN there.
[[nodiscard]] std::vector<std::string> netfilter_tables(int socket);

}  // namespace mirrord::agent
