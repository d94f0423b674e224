// applets/agent/incoming/request_messages.cpp — one head, four forms.
#include "applets/agent/incoming/request_messages.h"

#include <string>
#include <utility>

#include "applets/http_wire.h"
#include "proto/version.h"

namespace mirrord::agent {
namespace {

using proto::ChunkedRequest;
using proto::DaemonTcp;

// HTTP/2 has scheme and authority beside the path; the wire has them in the URI, as in Rust's `http` crate.
std::string uri_of(const net::http::RequestHead& head) {
  if (head.version != net::http::Version::kHttp2 || head.authority.empty())
    return head.target;
  if (head.method == "CONNECT")
    return head.authority;
  const bool is_path = head.target.starts_with('/');
  return (head.scheme.empty() ? "http" : head.scheme) + "://" + head.authority +
         (is_path ? head.target : "/");
}

template <class Body>
proto::InternalHttpRequest<Body> inner(const net::http::RequestHead& head, Body&& body) {
  return {.method = {head.method},
          .uri = {uri_of(head)},
          .headers = mirrord::to_wire(head.headers),
          .version = mirrord::to_wire(head.version),
          .body = std::forward<Body>(body)};
}

template <class Body>
proto::HttpRequest<Body> outer(proto::ConnectionId id, const net::http::RequestHead& head,
                               const Origin& origin, Body&& body) {
  return {.internal_request = inner(head, std::forward<Body>(body)),
          .connection_id = id,
          .request_id = 0,
          .port = origin.destination.port};
}

proto::Payload flat(BodyFrames&& frames) {
  proto::Payload bytes;
  for (proto::InternalHttpBodyFrame& frame : frames) {
    if (auto* data = frame.get_if<"Data">()) {
      if (bytes.empty())
        bytes = std::move(*data);
      else
        bytes.append(data->span());
    }
  }
  return bytes;
}

}  // namespace

RequestForm request_form(const proto::SemVer& version) {
  using proto::Gate;
  if (satisfies(version, Gate::kHttpChunkedRequestV2))
    return RequestForm::kChunkedV2;
  if (satisfies(version, Gate::kHttpChunkedRequest))
    return RequestForm::kChunkedV1;
  return satisfies(version, Gate::kHttpFramed) ? RequestForm::kFramed : RequestForm::kFlat;
}

DaemonTcp request_start(RequestForm form, proto::ConnectionId id,
                        const net::http::RequestHead& head, const Origin& origin,
                        BodyFrames&& frames, bool is_last) {
  switch (form) {
    case RequestForm::kChunkedV2: {
      proto::ChunkedRequestStartV2 start{
          .connection_id = id,
          .request_id = 0,
          .request = inner(head, proto::InternalHttpBodyNew{std::move(frames), is_last}),
          .metadata = proto::HttpRequestMetadata::make<"V1">(to_wire(origin.peer),
                                                             to_wire(origin.destination)),
          .transport = origin.transport};
      return DaemonTcp::make<"HttpRequestChunked">(
          ChunkedRequest::make<"StartV2">(std::move(start)));
    }
    case RequestForm::kChunkedV1:
      return DaemonTcp::make<"HttpRequestChunked">(
          ChunkedRequest::make<"StartV1">(outer(id, head, origin, std::move(frames))));
    case RequestForm::kFramed:
      return DaemonTcp::make<"HttpRequestFramed">(
          outer(id, head, origin, proto::InternalHttpBody(std::move(frames))));
    case RequestForm::kFlat:
      break;
  }
  return DaemonTcp::make<"HttpRequest">(outer(id, head, origin, flat(std::move(frames))));
}

DaemonTcp request_more(proto::ConnectionId id, BodyFrames&& frames, bool is_last) {
  return DaemonTcp::make<"HttpRequestChunked">(
      ChunkedRequest::make<"Body">(std::move(frames), is_last, id, proto::RequestId{0}));
}

}  // namespace mirrord::agent
