// proto/version.h — our protocol version, comparison of versions, and what each version may be sent.
#pragma once

#include <compare>
#include <iterator>
#include <string_view>

#include "proto/basic.h"

namespace mirrord::proto {

inline constexpr std::string_view kProtocolVersion = "1.29.0";

// Our own peers know each other by the build metadata of the negotiated version: the client
// announces it, the agent answers with it only then. Foreign peers ignore build metadata. A client
// may add a key ("flight.5f0c…"): the one that it has again when it comes back after its connection
// broke.
inline constexpr std::string_view kFlight = "flight";

// What a client without a handshake is taken for.
inline constexpr std::string_view kVersionWithoutHandshake = "1.2.2";

SemVer own_version();  // 1.29.0
// 1.29.0+flight or, with a key of letters and digits, 1.29.0+flight.KEY: what our client announces.
SemVer client_version(std::string_view key = {});
bool speaks_flight(const SemVer& version);
// The key of the client that announces `version`, empty without one.
std::string_view client_key(const SemVer& version);

// Precedence of SemVer 2; build metadata does not count.
std::weak_ordering compare(const SemVer& a, const SemVer& b);

// The server's answer: the lower of both versions, with our metadata if the client has it.
SemVer settle(const SemVer& own, const SemVer& client);

// Whose duty it is not to send something the other side cannot read.
enum class Sender { kClient, kServer, kBoth, kOperator };

// Named as in the original. Everything newer than 1.2.2 has a gate.
enum class Gate {
  kHttpFramed,
  kClientReadyForLogs,
  kHttpFilteredUpgrade,
  kReadlink,
  kHttpChunkedRequest,
  kHttpChunkedResponse,
  kReaddirBatch,
  kHttpCompositeFilter,
  kMirrorBlock,
  kMkdir,
  kOpenLocal,
  kInfoLog,
  kRmdir,
  kAddrinfoV2,
  kStatfs,
  kMirrorPolicyReason,
  kStatfsV2,
  kHttpChunkedRequestV2,
  kModeAgnosticHttpRequests,
  kOperatorLatencyPingPong,
  kHttpMethodFilter,
  kRename,
  kMirrorHttpFilter,
  kOutgoingConnectV2,
  kHttpBodyJsonFilter,
  kCopyfile,
  kReverseDns,
  kHttpHeaderJqFilter,
  kOutgoingSeqpacket,
  kSystemFailure,
  kShareLink,
};

struct GateRow {
  Gate gate;
  u64 major, minor, patch;  // from this version on
  Sender sender;
  std::string_view covers;
};

// clang-format off
inline constexpr GateRow kGates[] = {
    {Gate::kHttpFramed,               1, 3, 0,  Sender::kBoth,     "DaemonTcp.HttpRequestFramed, LayerTcpSteal.HttpResponseFramed"},
    {Gate::kClientReadyForLogs,       1, 3, 1,  Sender::kClient,   "ClientMessage.ReadyForLogs"},
    {Gate::kHttpFilteredUpgrade,      1, 5, 0,  Sender::kServer,   "Data on a connection that carried a filtered HTTP request"},
    {Gate::kReadlink,                 1, 6, 0,  Sender::kClient,   "FileRequest.ReadLink"},
    {Gate::kHttpChunkedRequest,       1, 7, 0,  Sender::kServer,   "DaemonTcp.HttpRequestChunked StartV1, Body, ErrorV1"},
    {Gate::kHttpChunkedResponse,      1, 8, 1,  Sender::kClient,   "LayerTcpSteal.HttpResponseChunked"},
    {Gate::kReaddirBatch,             1, 9, 0,  Sender::kClient,   "FileRequest.ReadDirBatch"},
    {Gate::kHttpCompositeFilter,      1, 11, 0, Sender::kClient,   "HttpFilter.Composite"},
    {Gate::kMirrorBlock,              1, 12, 0, Sender::kOperator, "BlockedAction.Mirror"},
    {Gate::kMkdir,                    1, 13, 0, Sender::kClient,   "FileRequest.MakeDir, MakeDirAt"},
    {Gate::kOpenLocal,                1, 13, 3, Sender::kOperator, "ResponseError.OpenLocal"},
    {Gate::kInfoLog,                  1, 13, 4, Sender::kServer,   "LogLevel.Info"},
    {Gate::kRmdir,                    1, 14, 0, Sender::kClient,   "FileRequest.RemoveDir, Unlink, UnlinkAt"},
    {Gate::kAddrinfoV2,               1, 15, 0, Sender::kClient,   "ClientMessage.GetAddrInfoRequestV2"},
    {Gate::kStatfs,                   1, 16, 0, Sender::kClient,   "FileRequest.StatFs"},
    {Gate::kMirrorPolicyReason,       1, 17, 0, Sender::kOperator, "ResponseError.ForbiddenWithReason"},
    {Gate::kStatfsV2,                 1, 18, 0, Sender::kClient,   "FileRequest.XstatFsV2, StatFsV2"},
    {Gate::kHttpChunkedRequestV2,     1, 19, 0, Sender::kServer,   "ChunkedRequest.StartV2, ErrorV2; stolen requests that came over TLS"},
    {Gate::kModeAgnosticHttpRequests, 1, 19, 4, Sender::kServer,   "DaemonTcp.NewConnectionV2; HTTP in mirror mode or without a filter; raw TCP that came over TLS"},
    {Gate::kOperatorLatencyPingPong,  1, 19, 8, Sender::kOperator, "DaemonMessage.OperatorPing, ClientMessage.OperatorPong"},
    {Gate::kHttpMethodFilter,         1, 20, 0, Sender::kClient,   "HttpFilter.Method"},
    {Gate::kRename,                   1, 21, 0, Sender::kClient,   "FileRequest.Rename"},
    {Gate::kMirrorHttpFilter,         1, 21, 1, Sender::kClient,   "LayerTcp.PortSubscribeFilteredHttp"},
    {Gate::kOutgoingConnectV2,        1, 22, 0, Sender::kClient,   "LayerTcpOutgoing.ConnectV2, LayerUdpOutgoing.ConnectV2"},
    {Gate::kHttpBodyJsonFilter,       1, 23, 0, Sender::kClient,   "HttpFilter.Body"},
    {Gate::kCopyfile,                 1, 24, 0, Sender::kClient,   "FileRequest.Ftruncate, Futimens, Fchown, Fchmod"},
    {Gate::kReverseDns,               1, 25, 0, Sender::kClient,   "ClientMessage.ReverseDnsLookup"},
    {Gate::kHttpHeaderJqFilter,       1, 26, 0, Sender::kClient,   "HttpFilter.HeaderJq"},
    {Gate::kOutgoingSeqpacket,        1, 27, 0, Sender::kClient,   "ClientMessage.SeqpacketOutgoing"},
    {Gate::kSystemFailure,            1, 28, 0, Sender::kServer,   "ResponseError.SystemFailure"},
    {Gate::kShareLink,                1, 29, 0, Sender::kOperator, "ClientMessage.ShareLink"},
};
// clang-format on

consteval bool gates_are_complete() {
  for (std::size_t i = 0; i < std::size(kGates); ++i)
    if (kGates[i].gate != Gate{static_cast<int>(i)})
      return false;
  return std::size(kGates) == static_cast<std::size_t>(Gate::kShareLink) + 1;
}
static_assert(gates_are_complete(), "one row per gate, in order");

// Whether a peer of this version may be sent what the gate covers. As in Rust's requirement
// ">=x.y.z": build metadata is ignored, and a pre-release passes no gate at all.
bool satisfies(const SemVer& peer, Gate gate);

}  // namespace mirrord::proto
