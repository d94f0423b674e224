// bench/incoming.h — what the rows of incoming traffic share: a network of their own, an agent in it, a program
// outside that its port leads to.
#pragma once

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "bench/options.h"
#include "bench/process.h"
#include "bench/wire_client.h"

namespace mirrord::bench {

// This thread's network while it lives, and that of all that it starts.
class OwnNetwork {
 public:
  OwnNetwork() : before_(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) {
    is_there_ = ::unshare(CLONE_NEWNET) == 0;
    ifreq loopback{};
    std::strcpy(loopback.ifr_name, "lo");
    loopback.ifr_flags = IFF_UP;
    const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ::ioctl(socket, SIOCSIFFLAGS, &loopback);
    ::close(socket);
  }
  ~OwnNetwork() {
    ::setns(before_, CLONE_NEWNET);
    ::close(before_);
  }
  OwnNetwork(const OwnNetwork&) = delete;
  OwnNetwork& operator=(const OwnNetwork&) = delete;
  [[nodiscard]] bool is_there() const { return is_there_; }
  // Starts a command in the network from before.
  [[nodiscard]] std::vector<std::string> outside(const std::vector<std::string>& command) const {
    std::vector<std::string> words = {
        "nsenter", "--net=/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(before_)};
    words.insert(words.end(), command.begin(), command.end());
    return words;
  }

 private:
  int before_;
  bool is_there_ = false;
};

struct AgentHere {
  explicit AgentHere(const Options& options)
      : port(free_port()),
        process({options.mirrord, "agent", "-l", std::to_string(port), "-t", "60", "process",
                 "--pid", std::to_string(::getpid())},
                "agent ready") {}
  std::uint16_t port;
  Background process;
};

// The next message about connections of that kind, of that name.
template <proto::FixedString Kind, proto::FixedString Name>
auto receive_tcp(WireClient& client) {
  for (;;) {
    proto::DaemonMessage message = client.receive();
    auto* tcp = message.get_if<Kind>();
    if (auto* wanted = tcp != nullptr ? tcp->template get_if<Name>() : nullptr) {
      return std::move(*wanted);
    }
  }
}

inline Row time_row(const char* name, const char* yardstick, double limit) {
  return {"incoming", name, yardstick, 0, 0, "µs", Kind::kTime, limit, ""};
}

// A program under `exec` in the network from before, to which the target's `port` leads.
// `incoming`: the configuration of that name, as JSON.
inline Background start_program(const Options& options, const OwnNetwork& network, const char* work,
                                std::uint16_t port, const char* incoming = "\"steal\"") {
  const std::string config = options.folder + "/incoming.json";
  std::FILE* file = std::fopen(config.c_str(), "w");
  std::fprintf(
      file,
      "{\"feature\": {\"fs\": \"local\", \"network\": {\"incoming\": %s, \"outgoing\": false}}}\n",
      incoming);
  std::fclose(file);
  return Background(network.outside({options.mirrord, "exec", "-f", config, "--target",
                                     "process/" + std::to_string(::getpid()), "--", options.probe,
                                     work, std::to_string(port)}),
                    "ready");
}

}  // namespace mirrord::bench
