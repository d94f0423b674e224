// proto/http.h — HTTP filters, requests and responses as they travel inside other messages.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/basic.h"
#include "proto/reflect.h"

namespace mirrord::proto {

// A token; case matters and unknown methods are kept.
struct HttpMethod {
  std::string text;
  friend bool operator==(const HttpMethod&, const HttpMethod&) = default;
};

// Origin form "/p?q", absolute form, authority form or "*"; never with a fragment.
struct HttpUri {
  std::string text;
  friend bool operator==(const HttpUri&, const HttpUri&) = default;
};

enum class HttpVersion : u8 { kHttp09, kHttp10, kHttp11, kHttp2, kHttp3 };

// "HTTP/1.1", as on the wire.
std::string_view to_string(HttpVersion version);
std::optional<HttpVersion> parse_http_version(std::string_view text);

struct HttpStatus {
  u16 code = 200;  // 100 to 999
  friend bool operator==(const HttpStatus&, const HttpStatus&) = default;
};

struct HttpHeader {
  std::string name;  // lower case
  std::vector<std::string> values;
  friend bool operator==(const HttpHeader&, const HttpHeader&) = default;
};

// One entry per name, in order of first appearance: the original's decoder drops earlier values of
// a name that comes back later. Use add(), which keeps that form and lower-cases.
struct HttpHeaders {
  std::vector<HttpHeader> entries;

  void add(std::string_view name, std::string value);
  const HttpHeader* find(std::string_view lower_case_name) const;
  friend bool operator==(const HttpHeaders&, const HttpHeaders&) = default;
};

// clang-format off

// ---- filters. Their texts are regular expressions, JSONPath and jq programs; not checked here.

using Filter = std::string;
using JsonPathQuery = std::string;
using JqQuery = std::string;

struct HttpFilter;

struct HttpMethodFilter : Enum<HttpMethodFilter,
  Case<"Get">, Case<"Head">, Case<"Post">, Case<"Put">, Case<"Delete">,
  Case<"Connect">, Case<"Options">, Case<"Trace">, Case<"Patch">,
  Case<"Other", std::string>> {};
static_assert(HttpMethodFilter::kSize == 10);

struct HttpBodyFilterJson { JsonPathQuery query; Filter matches; };
struct HttpBodyFilter : Enum<HttpBodyFilter, Case<"Json", HttpBodyFilterJson>> {};
static_assert(HttpBodyFilter::kSize == 1);

struct HttpFilterComposite { bool all; std::vector<HttpFilter> filters; };
struct HttpFilter : Enum<HttpFilter,
  Case<"Header",    Filter>,
  Case<"Path",      Filter>,
  Case<"Composite", HttpFilterComposite>,
  Case<"Method",    HttpMethodFilter>,
  Case<"Body",      HttpBodyFilter>,
  Case<"HeaderJq",  JqQuery>> {
  // The only recursive type of the protocol. Decoding refuses deeper nesting than this.
  static constexpr int kMaxNesting = 128;
};
static_assert(HttpFilter::kSize == 6);

// ---- bodies

struct InternalHttpBodyFrame : Enum<InternalHttpBodyFrame,
  Case<"Data",     Payload>,
  Case<"Trailers", HttpHeaders>> {};
static_assert(InternalHttpBodyFrame::kSize == 2);

using InternalHttpBody = std::vector<InternalHttpBodyFrame>;
struct InternalHttpBodyNew { std::vector<InternalHttpBodyFrame> frames; bool is_last; };

// ---- messages; B is Payload, InternalHttpBody or InternalHttpBodyNew

template <class B>
struct InternalHttpRequest {
  HttpMethod method;
  HttpUri uri;
  HttpHeaders headers;
  HttpVersion version;
  B body;
};
template <class B>
struct HttpRequest {
  InternalHttpRequest<B> internal_request;
  ConnectionId connection_id;
  RequestId request_id;
  Port port;
};
template <class B>
struct InternalHttpResponse {
  HttpStatus status;
  HttpVersion version;
  HttpHeaders headers;
  B body;
};
template <class B>
struct HttpResponse {
  Port port;
  ConnectionId connection_id;
  RequestId request_id;
  InternalHttpResponse<B> internal_response;
};

// clang-format on

extern template struct EnumLife<HttpMethodFilter>;
extern template struct EnumLife<HttpBodyFilter>;
extern template struct EnumLife<HttpFilter>;
extern template struct EnumLife<InternalHttpBodyFrame>;

}  // namespace mirrord::proto
