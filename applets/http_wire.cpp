// applets/http_wire.cpp — field by field, from one form into the other.
#include "applets/http_wire.h"

#include <optional>
#include <string>
#include <utility>

#include "net/http/translate.h"

namespace mirrord {
namespace {

using net::http::Version;

std::optional<Version> from_wire(proto::HttpVersion version) {
  switch (version) {
    case proto::HttpVersion::kHttp10:
      return Version::kHttp10;
    case proto::HttpVersion::kHttp11:
      return Version::kHttp11;
    case proto::HttpVersion::kHttp2:
      return Version::kHttp2;
    case proto::HttpVersion::kHttp09:
    case proto::HttpVersion::kHttp3:
      break;
  }
  return std::nullopt;
}

}  // namespace

Result<net::http::RequestHead> request_head(const proto::HttpMethod& method,
                                            const proto::HttpUri& uri, proto::HttpVersion version,
                                            const proto::HttpHeaders& headers) {
  const auto wanted = from_wire(version);
  if (!wanted) {
    return fail(ErrorCode::kUnsupported,
                std::string(proto::to_string(version)) + " cannot be passed on");
  }
  net::http::RequestHead head;
  head.method = method.text;
  head.target = uri.text;
  head.version = *wanted;
  head.headers = from_wire(headers);
  if (*wanted == Version::kHttp2) {
    head.version = Version::kHttp11;  // in the form that has the authority in the target
    head = net::http::to_http2(head);
  }
  if (!net::http::is_valid(head)) {
    return fail(ErrorCode::kPeer, "the request's head cannot be written as it is");
  }
  return head;
}

net::http::ResponseHead response_head(proto::HttpStatus status, proto::HttpVersion version,
                                      const proto::HttpHeaders& headers) {
  return {.status = status.code,
          .reason = std::string(net::http::reason_phrase(status.code)),
          .version = from_wire(version).value_or(Version::kHttp11),
          .headers = from_wire(headers)};
}

net::http::Headers from_wire(const proto::HttpHeaders& headers) {
  net::http::Headers fields;
  std::size_t count = 0;
  std::size_t bytes = 0;
  for (const proto::HttpHeader& header : headers.entries) {
    count += header.values.size();
    for (const std::string& value : header.values) {
      bytes += header.name.size() + value.size();
    }
  }
  fields.reserve(count, bytes);
  for (const proto::HttpHeader& header : headers.entries) {
    for (const std::string& value : header.values) {
      fields.add(header.name, value);
    }
  }
  return fields;
}

proto::HttpHeaders to_wire(const net::http::Headers& headers) {
  proto::HttpHeaders fields;
  fields.entries.reserve(headers.size());
  for (const net::http::Header header : headers) {
    fields.add(header.name, std::string(header.value));
  }
  return fields;
}

proto::HttpVersion to_wire(Version version) {
  switch (version) {
    case Version::kHttp10:
      return proto::HttpVersion::kHttp10;
    case Version::kHttp11:
      break;
    case Version::kHttp2:
      return proto::HttpVersion::kHttp2;
  }
  return proto::HttpVersion::kHttp11;
}

std::vector<proto::InternalHttpBodyFrame> body_frames(proto::Bytes&& bytes,
                                                      const net::http::Headers& trailers) {
  std::vector<proto::InternalHttpBodyFrame> frames;
  if (!bytes.empty()) {
    frames.push_back(proto::InternalHttpBodyFrame::make<"Data">(std::move(bytes)));
  }
  if (!trailers.empty()) {
    frames.push_back(proto::InternalHttpBodyFrame::make<"Trailers">(to_wire(trailers)));
  }
  return frames;
}

}  // namespace mirrord
