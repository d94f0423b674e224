// proto/outgoing.h — connections that the client opens from the target: TCP and UNIX, UDP, seqpacket.
#pragma once

#include "proto/basic.h"
#include "proto/reflect.h"
#include "proto/response_error.h"

namespace mirrord::proto {

// clang-format off

// ---- client to server. Empty bytes shut down the writing direction.

struct LayerConnect   { SocketAddress remote_address; };
struct LayerConnectV2 { Uid uid; SocketAddress remote_address; };
struct LayerWrite     { ConnectionId connection_id; Payload bytes; };
struct LayerClose     { ConnectionId connection_id; };

struct LayerTcpOutgoing : Enum<LayerTcpOutgoing,
  Case<"Connect",   LayerConnect>,
  Case<"Write",     LayerWrite>,
  Case<"Close",     LayerClose>,
  Case<"ConnectV2", LayerConnectV2>> {};
static_assert(LayerTcpOutgoing::kSize == 4);

struct LayerUdpOutgoing : Enum<LayerUdpOutgoing,
  Case<"Connect",   LayerConnect>,
  Case<"Write",     LayerWrite>,
  Case<"Close",     LayerClose>,
  Case<"ConnectV2", LayerConnectV2>> {};
static_assert(LayerUdpOutgoing::kSize == 4);

struct LayerSeqpacket : Enum<LayerSeqpacket,
  Case<"Write",     LayerWrite>,
  Case<"Close",     LayerClose>,
  Case<"ConnectV2", LayerConnectV2>> {};
static_assert(LayerSeqpacket::kSize == 3);

// ---- server to client. Empty bytes: the peer will send no more.

struct DaemonConnect {
  ConnectionId connection_id;
  SocketAddress remote_address;
  SocketAddress local_address;
};
struct DaemonConnectV2 { Uid uid; Res<DaemonConnect> connect; };
struct DaemonRead      { ConnectionId connection_id; Payload bytes; };

struct DaemonTcpOutgoing : Enum<DaemonTcpOutgoing,
  Case<"Connect",   Res<DaemonConnect>>,
  Case<"Read",      Res<DaemonRead>>,
  Case<"Close",     ConnectionId>,
  Case<"ConnectV2", DaemonConnectV2>> {};
static_assert(DaemonTcpOutgoing::kSize == 4);

struct DaemonUdpOutgoing : Enum<DaemonUdpOutgoing,
  Case<"Connect",   Res<DaemonConnect>>,
  Case<"Read",      Res<DaemonRead>>,
  Case<"Close",     ConnectionId>,
  Case<"ConnectV2", DaemonConnectV2>> {};
static_assert(DaemonUdpOutgoing::kSize == 4);

struct DaemonSeqpacket : Enum<DaemonSeqpacket,
  Case<"Read",      Res<DaemonRead>>,
  Case<"Close",     ConnectionId>,
  Case<"ConnectV2", DaemonConnectV2>> {};
static_assert(DaemonSeqpacket::kSize == 3);

// clang-format on

extern template struct EnumLife<LayerTcpOutgoing>;
extern template struct EnumLife<LayerUdpOutgoing>;
extern template struct EnumLife<LayerSeqpacket>;
extern template struct EnumLife<DaemonTcpOutgoing>;
extern template struct EnumLife<DaemonUdpOutgoing>;
extern template struct EnumLife<DaemonSeqpacket>;

}  // namespace mirrord::proto
