// applets/config/config.h — the resolved configuration: what flags, environment, file and defaults
// say together, as typed values that the rest of the program trusts.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "k8s/agent_settings.h"
#include "k8s/client_config.h"
#include "k8s/target_path.h"
#include "net/error.h"
#include "proto/http.h"

namespace mirrord::config {

using StringPairs = std::vector<std::pair<std::string, std::string>>;  // in the file's order

enum class TargetKind {
  kTargetless,  // no target: the agent runs in this machine's own environment
  kProcess,     // process/PID
  kContainer,   // container/NAME or container/ID
  kDemo,        // the embedded sandbox
  kAddress,     // a running agent, reached by TCP
  kKubernetes,  // pod/…, deployment/… and the like
};

struct Target {
  TargetKind kind = TargetKind::kTargetless;
  int32_t pid = 0;           // kProcess
  std::string name;          // kContainer: name or id; kKubernetes: the text of `path`
  k8s::TargetPath path;      // kKubernetes
  std::string name_space;    // of Kubernetes; empty: the context's
  std::string address;       // kAddress: HOST:PORT as written
  bool is_explicit = false;  // the user named it (also the word `targetless`)
};

struct EnvironmentRules {
  std::vector<std::string> include;  // empty: all
  std::vector<std::string> exclude;
  StringPairs override_values;
  StringPairs mapping;  // pattern searched in the name -> whole new value
  std::vector<std::string> unset;
  std::string env_file;
  bool load_from_process = false;
};

enum class FileMode { kLocal, kLocalWithOverrides, kRead, kWrite };

struct FileRules {
  FileMode mode = FileMode::kRead;
  FileMode chosen_mode = FileMode::kRead;  // before the lack of a target changed it
  std::vector<std::string> read_write, read_only, local, not_found;  // patterns
  StringPairs mapping;                                               // pattern -> replacement
  uint64_t readonly_buffer = 128'000;                                // bytes; 0 = off
};

enum class IncomingMode { kMirror, kSteal, kOff };

// What to do when another session steals the port already.
enum class ConcurrentSteal { kAbort, kOverride, kContinue };

// How stolen TLS connections and requests reach the local program.
struct TlsDelivery {
  bool uses_tls = true;                  // false: in plain text
  std::vector<std::string> trust_roots;  // files or directories; with server_cert empty: any
  std::string server_cert;               // PEM chain of the local server
  std::string server_name;               // empty: found out per connection
};

struct PortPair {
  uint16_t program;  // the port the program asks for
  uint16_t other;    // on the target (port_mapping), or really bound here (listen_ports)
};

struct IncomingRules {
  IncomingMode mode = IncomingMode::kMirror;
  bool is_explicit = false;
  std::vector<PortPair> port_mapping;
  std::vector<PortPair> listen_ports;
  std::vector<uint16_t> ignore_ports;
  std::optional<std::vector<uint16_t>> ports;  // of the target; none: all
  bool ignore_localhost = false;
  ConcurrentSteal on_concurrent_steal = ConcurrentSteal::kAbort;
  std::optional<TlsDelivery> tls_delivery;
  std::optional<proto::HttpFilter> http_filter;            // none: everything
  std::optional<std::vector<uint16_t>> http_filter_ports;  // of the target; none: all
};

enum class FilterSide { kNone, kLocal, kRemote };
struct AddressFilter {
  FilterSide side = FilterSide::kNone;
  std::vector<std::string> entries;
};

struct NetworkRules {
  IncomingRules incoming;
  bool outgoing_tcp = true;
  bool outgoing_udp = true;
  bool ignore_localhost = false;
  AddressFilter outgoing_filter;
  std::vector<std::string> unix_streams;  // patterns
  bool dns = true;
  AddressFilter dns_filter;
  bool ipv6 = true;
};

// Of the operator alone; editors ask which targets go with it.
struct CopyTarget {
  bool is_on = false;
  bool scales_down = false;
};

struct AgentOptions {
  std::string log_level = "info";
  bool json_log = false;
  uint32_t startup_timeout_seconds = 60;
  uint32_t communication_timeout_seconds = 30;
  std::optional<uint32_t> dns_timeout_seconds;
  std::optional<uint32_t> dns_attempts;
};

// Of a setting; a number that does not fit the clock means "for ever".
inline std::chrono::seconds setting_seconds(std::uint64_t value) {
  return std::chrono::seconds(
      static_cast<std::int64_t>(std::min<std::uint64_t>(value, 1'000'000'000)));
}

struct ProxyOptions {
  uint64_t start_idle_timeout_seconds = 60;
  uint64_t idle_timeout_seconds = 5;
  uint64_t ping_interval_seconds = 30;
  uint64_t reconnect_timeout_seconds = 30;  // 0: a broken connection ends the session
  std::string log_level = "mirrord=info,warn";
  std::string log_destination;  // a file; empty: in the session's directory
  bool json_log = true;
};

// Programs that `mirrord container` starts.
struct ContainerOptions {
  std::string cli_image;                    // empty: an empty one of our own
  std::vector<std::string> cli_extra_args;  // of the proxy's container, before the image
  bool keeps_sidecar = false;               // no --rm
  std::string platform;
};

// A Redis for the session alone, on this machine: of feature.db_branches, with `location` local.
enum class RedisRuntime { kContainer, kServer, kAuto };
struct LocalRedis {
  RedisRuntime runtime = RedisRuntime::kContainer;
  uint16_t port = 0;  // of this machine's loopback
  std::string image;
  std::string container_command;  // a program, of this machine or in PATH
  std::string server_command;
  std::vector<std::string> arguments;  // of the server
};

struct CiOptions {
  std::string output_directory;  // empty: below the temporary directory
};

struct ResolvedConfig {
  Target target;
  std::string key;  // names the session
  bool key_is_generated = false;
  EnvironmentRules environment;
  FileRules files;
  NetworkRules network;
  AgentOptions agent;
  k8s::AgentSettings agent_pod;     // the agent in a cluster
  k8s::ClientConfigChoice cluster;  // which cluster, and as whom
  ProxyOptions proxy;
  CopyTarget copy_target;
  ContainerOptions container;
  CiOptions ci;
  std::vector<LocalRedis> local_redis;
  bool remote_hostname = true;
  bool turbo = true;
  bool use_proxy = true;
  bool tcp_ping4_mock = true;
  bool hide_ipv6_interfaces = false;
  bool guard_std_fds = true;
  bool enable_exec_hooks = true;
  uint32_t connect_grace_ms = 50;
  bool skip_build_tools = true;
  std::vector<std::string> skip_extra_build_tools;
  std::vector<std::string> skip_processes;
  std::string file;                   // where it was read from; empty: no file
  std::vector<std::string> warnings;  // one sentence each, to be shown once
};

}  // namespace mirrord::config
