// proto/tcp.h — incoming traffic of the target, mirrored (Tcp) or stolen (TcpSteal).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "proto/basic.h"
#include "proto/http.h"
#include "proto/reflect.h"
#include "proto/response_error.h"

namespace mirrord::proto {

// clang-format off

// ---- both directions

struct TcpData  { ConnectionId connection_id; Payload bytes; };  // empty bytes: half-close
struct TcpClose { ConnectionId connection_id; };

struct ChunkedRequestBodyV1 {
  std::vector<InternalHttpBodyFrame> frames;
  bool is_last;
  ConnectionId connection_id;
  RequestId request_id;
};
struct ChunkedRequestErrorV1 { ConnectionId connection_id; RequestId request_id; };

// ---- client to server

struct LayerTcpPortSubscribeFilteredHttp { using Positional = void; Port port; HttpFilter filter; };
struct LayerTcp : Enum<LayerTcp,
  Case<"PortSubscribe",             Port>,
  Case<"ConnectionUnsubscribe",     ConnectionId>,
  Case<"PortUnsubscribe",           Port>,
  Case<"PortSubscribeFilteredHttp", LayerTcpPortSubscribeFilteredHttp>> {};
static_assert(LayerTcp::kSize == 4);

struct ChunkedResponse : Enum<ChunkedResponse,
  Case<"Start", HttpResponse<std::vector<InternalHttpBodyFrame>>>,
  Case<"Body",  ChunkedRequestBodyV1>,
  Case<"Error", ChunkedRequestErrorV1>> {};
static_assert(ChunkedResponse::kSize == 3);

struct LayerTcpSteal : Enum<LayerTcpSteal,
  Case<"PortSubscribe",         StealType>,
  Case<"ConnectionUnsubscribe", ConnectionId>,
  Case<"PortUnsubscribe",       Port>,
  Case<"Data",                  TcpData>,
  Case<"HttpResponse",          HttpResponse<Payload>>,
  Case<"HttpResponseFramed",    HttpResponse<InternalHttpBody>>,
  Case<"HttpResponseChunked",   ChunkedResponse>> {};
static_assert(LayerTcpSteal::kSize == 7);

// ---- server to client

struct NewTcpConnectionV1 {
  ConnectionId connection_id;
  Ip remote_address;
  Port destination_port;
  Port source_port;
  Ip local_address;
};
struct IncomingTrafficTransportTypeTls {
  std::optional<Bytes> alpn_protocol;
  std::optional<std::string> server_name;
};
struct IncomingTrafficTransportType : Enum<IncomingTrafficTransportType,
  Case<"Tcp">,
  Case<"Tls", IncomingTrafficTransportTypeTls>> {};
static_assert(IncomingTrafficTransportType::kSize == 2);
struct NewTcpConnectionV2 { NewTcpConnectionV1 connection; IncomingTrafficTransportType transport; };

struct HttpRequestMetadataV1 { SockAddr source; SockAddr destination; };
struct HttpRequestMetadata : Enum<HttpRequestMetadata, Case<"V1", HttpRequestMetadataV1>> {};
static_assert(HttpRequestMetadata::kSize == 1);

struct ChunkedRequestStartV2 {
  ConnectionId connection_id;
  RequestId request_id;
  InternalHttpRequest<InternalHttpBodyNew> request;
  HttpRequestMetadata metadata;
  IncomingTrafficTransportType transport;
};
struct ChunkedRequestErrorV2 { ConnectionId connection_id; RequestId request_id; std::string error_message; };
struct ChunkedRequest : Enum<ChunkedRequest,
  Case<"StartV1", HttpRequest<std::vector<InternalHttpBodyFrame>>>,
  Case<"Body",    ChunkedRequestBodyV1>,
  Case<"ErrorV1", ChunkedRequestErrorV1>,
  Case<"StartV2", ChunkedRequestStartV2>,
  Case<"ErrorV2", ChunkedRequestErrorV2>> {};
static_assert(ChunkedRequest::kSize == 5);

struct DaemonTcp : Enum<DaemonTcp,
  Case<"NewConnectionV1",    NewTcpConnectionV1>,
  Case<"Data",               TcpData>,
  Case<"Close",              TcpClose>,
  Case<"SubscribeResult",    Res<Port>>,
  Case<"HttpRequest",        HttpRequest<Payload>>,
  Case<"HttpRequestFramed",  HttpRequest<InternalHttpBody>>,
  Case<"HttpRequestChunked", ChunkedRequest>,
  Case<"NewConnectionV2",    NewTcpConnectionV2>> {};
static_assert(DaemonTcp::kSize == 8);

// clang-format on

extern template struct EnumLife<LayerTcp>;
extern template struct EnumLife<ChunkedResponse>;
extern template struct EnumLife<LayerTcpSteal>;
extern template struct EnumLife<IncomingTrafficTransportType>;
extern template struct EnumLife<HttpRequestMetadata>;
extern template struct EnumLife<ChunkedRequest>;
extern template struct EnumLife<DaemonTcp>;

}  // namespace mirrord::proto
