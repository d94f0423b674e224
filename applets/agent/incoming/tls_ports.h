// applets/agent/incoming/tls_ports.h — ports on which the target speaks TLS that the agent is to see into.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "applets/agent/incoming/origin.h"
#include "applets/agent/target.h"
#include "net/error.h"
#include "net/fd.h"
#include "net/loop.h"
#include "net/tls.h"

namespace mirrord::agent {

// What the agent shows, and whom it believes, as one side of a connection. All are paths of the target.
struct TlsSide {
  std::string certificate, key;  // empty: none
  std::vector<std::string> trust_roots;
  bool accepts_any = false;
  bool allows_anonymous = false;  // as a server: clients without a certificate
  bool verifies = false;          // as a server: asks clients for one
  std::vector<std::string> alpn;
};

struct TlsPort {
  TlsSide server, client;
};

// MIRRORD_AGENT_STEAL_TLS_CONFIG, the original's: base64 of a JSON array. Empty text: no ports.
[[nodiscard]] Result<std::map<std::uint16_t, TlsPort>> parse_tls_ports(std::string_view text);

// Takes TLS off connections that arrive, and puts it on those to the target. Certificates are read when a port is
// used for the first time.
class TlsPorts {
 public:
  TlsPorts(net::Loop& loop, const Target& target, std::map<std::uint16_t, TlsPort> ports)
      : loop_(loop), target_(target), ports_(std::move(ports)) {}
  ~TlsPorts() { *alive_ = false; }
  TlsPorts(const TlsPorts&) = delete;
  TlsPorts& operator=(const TlsPorts&) = delete;

  [[nodiscard]] bool has(std::uint16_t port) const { return ports_.contains(port); }

  // The plain side of a connection whose handshake is over, and what was agreed on in it. Where there is none the
  // connection has ended.
  using Ready = std::move_only_function<void(Fd plain, proto::IncomingTrafficTransportType)>;
  Status accept(Fd socket, std::uint16_t port, Ready ready);

  // The plain side of a connection to the target, as `origin` came.
  Result<Fd> connect(Fd socket, const Origin& origin);

 private:
  Result<std::shared_ptr<net::TlsContext>> context(const std::string& key, const TlsSide& side,
                                                   net::TlsOptions options);
  Result<std::string> read(const std::string& path) const;
  std::string read_roots(const std::vector<std::string>& paths) const;
  void drop(std::uint64_t id);

  net::Loop& loop_;
  const Target& target_;
  const std::map<std::uint16_t, TlsPort> ports_;
  std::map<std::string, std::shared_ptr<net::TlsContext>> contexts_;
  std::unordered_map<std::uint64_t, std::unique_ptr<net::TlsPump>> pumps_;
  std::uint64_t next_id_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace mirrord::agent
