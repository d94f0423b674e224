// net/dns.h — look-ups with the resolv.conf and hosts of another root, on the loop.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/address.h"
#include "net/fd.h"
#include "net/loop.h"

namespace mirrord::net {

enum class DnsFamily { kIpv4, kIpv6, kBoth, kAny };  // kAny: IPv6 only if there is no IPv4

struct DnsRecord {
  std::string name;  // the record's owner, without trailing dot
  IpAddress address;
  auto operator<=>(const DnsRecord&) const = default;
};

struct DnsFailure {
  enum class Kind {
    kNoRecords,  // the name does not exist (response_code 3) or has no such record (0)
    kTimeout,
    kNoConnections,  // no server could be reached
    kPermission,     // resolv.conf may not be read
    kServer,         // a server answered with a failure; `text` names it
  };
  Kind kind = Kind::kServer;
  std::uint16_t response_code = 0;
  std::string text;
};

using DnsAnswer = std::expected<std::vector<DnsRecord>, DnsFailure>;
using DnsNameAnswer = std::expected<std::string, DnsFailure>;

// Looks names up as a program inside `root` would: hosts first, then the servers of resolv.conf
// with its search list. Both files are read again when they change. Queries leave from the network
// namespace of the loop's thread.
class Resolver {
 public:
  struct Overrides {  // instead of what resolv.conf says
    std::optional<std::chrono::seconds> timeout;
    std::optional<int> attempts;
  };

  // `root` is a directory descriptor; without one, this process's own root is used.
  Resolver(Loop& loop, Fd root, Overrides overrides);
  Resolver(Loop& loop, Fd root) : Resolver(loop, std::move(root), Overrides()) {}
  ~Resolver();  // look-ups under way end without an answer
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // `done` is called exactly once, possibly before these return.
  void lookup(const std::string& name, DnsFamily family,
              std::move_only_function<void(DnsAnswer)> done);
  void reverse(const IpAddress& address, std::move_only_function<void(DnsNameAnswer)> done);

 private:
  struct Files;
  class Channel;
  class Lookup;
  void reload();

  Loop& loop_;
  Overrides overrides_;
  std::unique_ptr<Files> files_;
  std::shared_ptr<Channel> channel_;              // shared with the look-ups that use it
  std::vector<std::weak_ptr<Channel>> channels_;  // this one and older ones still in use
};

}  // namespace mirrord::net
