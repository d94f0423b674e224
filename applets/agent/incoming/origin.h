// applets/agent/incoming/origin.h — where a connection comes from, where it was going, and how.
#pragma once

#include "net/address.h"
#include "proto/tcp.h"

namespace mirrord::agent {

struct Origin {
  net::Endpoint peer;
  net::Endpoint destination;
  proto::IncomingTrafficTransportType transport;  // what it was before TLS was taken off
};

inline proto::Ip to_wire(const net::IpAddress& ip) {
  return {ip.is_v6, ip.bytes};
}

inline proto::SockAddr to_wire(const net::Endpoint& endpoint) {
  return {to_wire(endpoint.ip), endpoint.port};
}

}  // namespace mirrord::agent
