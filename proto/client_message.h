// proto/client_message.h — everything a client (intproxy, command line) sends to a server (agent).
#pragma once

#include <string>

#include "proto/basic.h"
#include "proto/dns.h"
#include "proto/file.h"
#include "proto/outgoing.h"
#include "proto/reflect.h"
#include "proto/tcp.h"

namespace mirrord::proto {

// clang-format off

// Names may hold the wildcards '*' and '?'; an empty selection selects all.
struct GetEnvVarsRequest { Set<std::string> env_vars_filter; Set<std::string> env_vars_select; };

struct ClientVpn : Enum<ClientVpn,
  Case<"GetNetworkConfiguration">,
  Case<"OpenSocket">,
  Case<"Packet", Payload>> {};
static_assert(ClientVpn::kSize == 3);

struct ShareLinkRequest : Enum<ShareLinkRequest,
  Case<"RegisterKey", std::string>,
  Case<"RemoveKey",   std::string>> {};
static_assert(ShareLinkRequest::kSize == 2);

struct ClientMessage : Enum<ClientMessage,
  Case<"Close">,
  Case<"Tcp",                   LayerTcp>,
  Case<"TcpSteal",              LayerTcpSteal>,
  Case<"TcpOutgoing",           LayerTcpOutgoing>,
  Case<"UdpOutgoing",           LayerUdpOutgoing>,
  Case<"FileRequest",           FileRequest>,
  Case<"GetEnvVarsRequest",     GetEnvVarsRequest>,
  Case<"Ping">,
  Case<"GetAddrInfoRequest",    GetAddrInfoRequest>,
  Case<"PauseTargetRequest",    bool>,
  Case<"SwitchProtocolVersion", SemVer>,
  Case<"ReadyForLogs">,
  Case<"Vpn",                   ClientVpn>,
  Case<"GetAddrInfoRequestV2",  GetAddrInfoRequestV2>,
  Case<"OperatorPong",          u128>,
  Case<"ReverseDnsLookup",      ReverseDnsLookupRequest>,
  Case<"SeqpacketOutgoing",     LayerSeqpacket>,
  Case<"ShareLink",             ShareLinkRequest>> {};
static_assert(ClientMessage::kSize == 18);

// clang-format on

extern template struct EnumLife<ClientVpn>;
extern template struct EnumLife<ShareLinkRequest>;
extern template struct EnumLife<ClientMessage>;

}  // namespace mirrord::proto
