// proto/messages.cpp — the one place where the life of every wire enum is instantiated.
#include "proto/client_message.h"
#include "proto/daemon_message.h"

namespace mirrord::proto {

template struct EnumLife<HttpMethodFilter>;
template struct EnumLife<HttpBodyFilter>;
template struct EnumLife<HttpFilter>;
template struct EnumLife<InternalHttpBodyFrame>;
template struct EnumLife<UnixAddr>;
template struct EnumLife<SocketAddress>;
template struct EnumLife<StealType>;
template struct EnumLife<BlockedAction>;
template struct EnumLife<ErrorKindInternal>;
template struct EnumLife<ResolveErrorKindInternal>;
template struct EnumLife<RemoteError>;
template struct EnumLife<ResponseError>;
template struct EnumLife<AddressFamily>;
template struct EnumLife<SockType>;
template struct EnumLife<SeekFromInternal>;
template struct EnumLife<FileRequest>;
template struct EnumLife<FileResponse>;
template struct EnumLife<LayerTcpOutgoing>;
template struct EnumLife<LayerUdpOutgoing>;
template struct EnumLife<LayerSeqpacket>;
template struct EnumLife<DaemonTcpOutgoing>;
template struct EnumLife<DaemonUdpOutgoing>;
template struct EnumLife<DaemonSeqpacket>;
template struct EnumLife<LayerTcp>;
template struct EnumLife<ChunkedResponse>;
template struct EnumLife<LayerTcpSteal>;
template struct EnumLife<IncomingTrafficTransportType>;
template struct EnumLife<HttpRequestMetadata>;
template struct EnumLife<ChunkedRequest>;
template struct EnumLife<DaemonTcp>;
template struct EnumLife<ClientVpn>;
template struct EnumLife<ShareLinkRequest>;
template struct EnumLife<ClientMessage>;
template struct EnumLife<LogLevel>;
template struct EnumLife<DaemonPauseTarget>;
template struct EnumLife<ServerVpn>;
template struct EnumLife<DaemonMessage>;

}  // namespace mirrord::proto
