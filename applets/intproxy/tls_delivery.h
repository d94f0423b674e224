// applets/intproxy/tls_delivery.h — traffic that reached the target over TLS, on its way to a program that expects it so.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "applets/config/config.h"
#include "net/error.h"
#include "net/fd.h"
#include "net/loop.h"
#include "net/tls.h"
#include "proto/tcp.h"

namespace mirrord::intproxy {

// `feature.network.incoming.tls_delivery`, with its files read. Without it: TLS, whatever certificate comes.
struct TlsTrust {
  bool uses_tls = true;
  std::string roots;        // PEM, of authorities
  std::string certificate;  // PEM, the program's very own. Neither: any will do
  std::string server_name;  // empty: found out per connection
};
// The error names the key and the file.
[[nodiscard]] Result<TlsTrust> load_tls_trust(const std::optional<config::TlsDelivery>& delivery);

class TlsDelivery {
 public:
  // How a connection is to be made; equal ones can be shared.
  struct Way {
    bool is_tls = false;
    std::string server_name, alpn;
    friend auto operator<=>(const Way&, const Way&) = default;
  };
  struct Handlers {
    std::move_only_function<void(const std::string& line)> warn;
    std::move_only_function<void(int socket)> closing;  // before a socket of wrap() is closed
  };

  TlsDelivery(net::Loop& loop, TlsTrust trust, Handlers handlers)
      : loop_(loop), trust_(std::move(trust)), handlers_(std::move(handlers)) {}
  ~TlsDelivery();
  TlsDelivery(const TlsDelivery&) = delete;
  TlsDelivery& operator=(const TlsDelivery&) = delete;

  // `host`: that of the request, with or without a port; may be empty.
  [[nodiscard]] Way way(const proto::IncomingTrafficTransportType& transport,
                        std::string_view host) const;
  // The plain side of a connection to a program, connected or connecting. Unless `way` says otherwise, the
  // socket itself.
  Result<Fd> wrap(Fd socket, const Way& way);

 private:
  struct Pump {
    std::unique_ptr<net::TlsPump> pump;
    int socket;
  };
  void ended(std::uint64_t id, const std::optional<Error>& why);
  void drop(std::uint64_t id);

  net::Loop& loop_;
  const TlsTrust trust_;
  Handlers handlers_;
  std::unordered_map<std::uint64_t, Pump> pumps_;
  std::uint64_t next_id_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace mirrord::intproxy
