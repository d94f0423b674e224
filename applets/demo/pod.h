// applets/demo/pod.h — the parts of the pod's process, and what its surroundings look like.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/error.h"
#include "net/fd.h"
#include "net/loop.h"

namespace mirrord::demo {

// Descriptors that the pod's process starts with (sandbox.cpp puts them there).
inline constexpr int kControlFd = 3;  // to the owner: "ready" or an error; its end is ours
inline constexpr int kOwnerFd = 4;    // pidfd of the owner
inline constexpr char kPodArgument[] = "--internal-pod";
inline constexpr char kReady = '\x06';

// Entry point of the pod's process; returns its exit code.
int pod_main();

inline constexpr char kPodName[] = "shop-7d4b9c6f5-x2k8p";
inline constexpr char kPodAddress[] = "10.244.1.17";
inline constexpr char kNameServer[] = "10.96.0.10";

// Environment of the pod's process, NAME=value.
std::span<const char* const> pod_environment();

// The pod's file system: makes it below the current directory.
Status make_tree();
// Brings up the interfaces of the new network namespace with the pod's addresses.
Status make_network();

// A name that only the pod's name server knows. Several lines may share a name or an address.
struct Name {
  const char* name;
  const char* address;  // IPv4 or IPv6
};
struct Alias {
  const char* name;
  const char* target;
};
// Records of other types.
struct MailServer {  // MX
  const char* name;
  unsigned short preference;
  const char* target;
};
struct ServiceRecord {  // SRV
  const char* name;
  unsigned short port;
  const char* target;
};
struct Text {  // TXT
  const char* name;
  const char* text;
};
std::span<const Name> pod_names();
std::span<const MailServer> pod_mail_servers();
std::span<const ServiceRecord> pod_service_records();
std::span<const Text> pod_texts();
std::span<const Alias> pod_aliases();

// The answer to one DNS query; empty when the query is not one.
std::string answer_query(std::span<const std::byte> query, bool may_be_long);

// What a TCP service does with the bytes that it has received so far: takes what it understands
// off the front of `input` and returns what to send back.
struct Reply {
  std::string bytes;
  bool is_last = false;  // close after these bytes
};
using Protocol = Reply (*)(std::string& input, const std::string& peer);
Reply serve_http(std::string& input, const std::string& peer);
Reply serve_echo(std::string& input, const std::string& peer);
Reply serve_dns(std::string& input, const std::string& peer);

// A service works on the loop until its object is destroyed.
class Service {
 public:
  virtual ~Service() = default;
};
using Services = std::vector<std::unique_ptr<Service>>;
// Starts every service of the pod, each on its addresses.
Result<Services> start_services(net::Loop& loop);

}  // namespace mirrord::demo
