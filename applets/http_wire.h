// applets/http_wire.h — heads and bodies of HTTP messages: as the wire between agent and client has them, and as
// net/http has them.
#pragma once

#include <span>
#include <vector>

#include "net/error.h"
#include "net/http/message.h"
#include "proto/http.h"

namespace mirrord {

// A request as one writes it to a server. One of HTTP/2 gets its authority from the URI; its fields lose what
// only HTTP/1 may carry. Fails for versions that cannot be written, and for text that would mean
// something else on the wire.
[[nodiscard]] Result<net::http::RequestHead> request_head(const proto::HttpMethod& method,
                                                          const proto::HttpUri& uri,
                                                          proto::HttpVersion version,
                                                          const proto::HttpHeaders& headers);

// An answer as one writes it to a client. What cannot be written is the writer's to refuse; a version that cannot
// be is taken for HTTP/1.1, of which any other is made.
[[nodiscard]] net::http::ResponseHead response_head(proto::HttpStatus status,
                                                    proto::HttpVersion version,
                                                    const proto::HttpHeaders& headers);

[[nodiscard]] net::http::Headers from_wire(const proto::HttpHeaders& headers);
[[nodiscard]] proto::HttpHeaders to_wire(const net::http::Headers& headers);
[[nodiscard]] proto::HttpVersion to_wire(net::http::Version version);

// The frames of a piece of a body: its bytes, if any, and what ends it. Nothing for nothing.
[[nodiscard]] std::vector<proto::InternalHttpBodyFrame> body_frames(
    proto::Bytes&& bytes, const net::http::Headers& trailers);

}  // namespace mirrord
