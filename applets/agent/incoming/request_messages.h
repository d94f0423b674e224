// applets/agent/incoming/request_messages.h — HTTP requests as messages for clients of every version.
#pragma once

#include <vector>

#include "applets/agent/incoming/origin.h"
#include "net/http/message.h"
#include "proto/tcp.h"

namespace mirrord::agent {

// How a client's version wants a stolen request.
enum class RequestForm {
  kChunkedV2,  // in pieces, and who sent it
  kChunkedV1,  // in pieces
  kFramed,     // whole, with trailers
  kFlat,       // whole
};
[[nodiscard]] RequestForm request_form(const proto::SemVer& version);

using BodyFrames = std::vector<proto::InternalHttpBodyFrame>;

// The first message: for the whole forms `frames` are all of the body. Each connection carries one request,
// whose id is 0.
[[nodiscard]] proto::DaemonTcp request_start(RequestForm form, proto::ConnectionId id,
                                             const net::http::RequestHead& head,
                                             const Origin& origin, BodyFrames&& frames,
                                             bool is_last);
[[nodiscard]] proto::DaemonTcp request_more(proto::ConnectionId id, BodyFrames&& frames,
                                            bool is_last);

}  // namespace mirrord::agent
