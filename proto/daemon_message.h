// proto/daemon_message.h — everything a server (agent, operator) sends to a client.
#pragma once

#include <string>

#include "proto/basic.h"
#include "proto/dns.h"
#include "proto/file.h"
#include "proto/outgoing.h"
#include "proto/reflect.h"
#include "proto/response_error.h"
#include "proto/tcp.h"

namespace mirrord::proto {

// clang-format off

struct LogLevel : Enum<LogLevel, Case<"Warn">, Case<"Error">, Case<"Info">> {};
static_assert(LogLevel::kSize == 3);
struct LogMessage { std::string message; LogLevel level; };

using RemoteEnvVars = Map<std::string, std::string>;

struct PauseResponse { bool changed; bool container_paused; };
struct DaemonPauseTarget : Enum<DaemonPauseTarget, Case<"PauseResponse", PauseResponse>> {};
static_assert(DaemonPauseTarget::kSize == 1);

struct NetworkConfiguration { Ip ip; Ip net_mask; Ip gateway; };
struct ServerVpn : Enum<ServerVpn,
  Case<"NetworkConfiguration", NetworkConfiguration>,
  Case<"Packet",               Payload>> {};
static_assert(ServerVpn::kSize == 2);

struct DaemonMessage : Enum<DaemonMessage,
  Case<"Close",                         std::string>,  // a fatal reason
  Case<"Tcp",                           DaemonTcp>,
  Case<"TcpSteal",                      DaemonTcp>,
  Case<"TcpOutgoing",                   DaemonTcpOutgoing>,
  Case<"UdpOutgoing",                   DaemonUdpOutgoing>,
  Case<"LogMessage",                    LogMessage>,
  Case<"File",                          FileResponse>,
  Case<"Pong">,
  Case<"GetEnvVarsResponse",            Res<RemoteEnvVars>>,
  Case<"GetAddrInfoResponse",           GetAddrInfoResponse>,
  Case<"PauseTarget",                   DaemonPauseTarget>,
  Case<"SwitchProtocolVersionResponse", SemVer>,
  Case<"Vpn",                           ServerVpn>,
  Case<"OperatorPing",                  u128>,
  Case<"ReverseDnsLookup",              Res<ReverseDnsLookupResponse>>,
  Case<"SeqpacketOutgoing",             DaemonSeqpacket>> {};
static_assert(DaemonMessage::kSize == 16);

// clang-format on

extern template struct EnumLife<LogLevel>;
extern template struct EnumLife<DaemonPauseTarget>;
extern template struct EnumLife<ServerVpn>;
extern template struct EnumLife<DaemonMessage>;

}  // namespace mirrord::proto
