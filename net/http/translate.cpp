// net/http/translate.cpp — field by field, what differs between the versions.
#include "net/http/translate.h"

#include <algorithm>
#include <array>
#include <utility>

namespace mirrord::net::http {

namespace {

// RFC 9113 §8.2.2: fields of one connection.
constexpr std::array<std::string_view, 5> kHopByHop = {
    "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"};

bool is_hop_by_hop(std::string_view name) {
  for (const std::string_view known : kHopByHop) {
    if (equals_ignoring_case(name, known))
      return true;
  }
  return false;
}

// The fields, in lower case, without those of the connection and without `left_out`.
Headers http2_fields(const Headers& headers, std::string_view left_out) {
  Headers result;
  result.reserve(headers.size(), 1024);
  const bool has_connection = headers.contains("connection");
  for (const Header header : headers) {
    if (is_hop_by_hop(header.name) || equals_ignoring_case(header.name, left_out))
      continue;
    // Connection may name any field, but not those that belong to the message all the same.
    if (has_connection && headers.has_token("connection", header.name) &&
        !equals_ignoring_case(header.name, "content-length"))
      continue;
    if (equals_ignoring_case(header.name, "te")) {
      if (headers.has_token("te", "trailers") && !result.contains("te"))
        result.add("te", "trailers");
      continue;
    }
    result.add(lower_case(header.name), header.value);
  }
  return result;
}

// Absolute form "http://host:port/path?query" in its parts; false for every other form.
bool split_absolute(std::string_view target, std::string_view& scheme, std::string_view& authority,
                    std::string_view& path) {
  const std::size_t mark = target.find("://");
  if (target.starts_with('/') || mark == std::string_view::npos || mark == 0)
    return false;
  scheme = target.substr(0, mark);
  const std::string_view rest = target.substr(mark + 3);
  const std::size_t end = std::min(rest.find_first_of("/?"), rest.size());
  authority = rest.substr(0, end);
  path = rest.substr(end);
  return true;
}

}  // namespace

void remove_hop_by_hop(Headers& headers) {
  Headers result;
  for (const Header header : headers) {
    if (is_hop_by_hop(header.name) || headers.has_token("connection", header.name))
      continue;
    if (equals_ignoring_case(header.name, "te") && !equals_ignoring_case(header.value, "trailers"))
      continue;
    result.add(header.name, header.value);
  }
  headers = std::move(result);
}

RequestHead to_http1(const RequestHead& head) {
  if (head.version != Version::kHttp2)
    return head;
  RequestHead result{head.method, head.target, {}, {}, Version::kHttp11, {}};
  if (head.method == "CONNECT")
    result.target = head.authority;
  else if (result.target.empty())
    result.target = "/";
  // RFC 9113 §8.3.1: Host is made from the authority; where both are there, the authority counts.
  const std::string_view host =
      head.authority.empty() ? head.headers.find("host").value_or("") : head.authority;
  result.headers.reserve(head.headers.size() + 1, 1024);
  if (!host.empty())
    result.headers.add("host", host);
  std::string cookie;
  bool has_cookie = false;
  for (const Header header : head.headers) {
    if (is_hop_by_hop(header.name) || equals_ignoring_case(header.name, "host"))
      continue;
    if (equals_ignoring_case(header.name, "cookie")) {  // RFC 9113 §8.2.3: pieces of one field
      cookie.append(has_cookie ? "; " : "").append(header.value);
      has_cookie = true;
      continue;
    }
    result.headers.add(header.name, header.value);
  }
  if (has_cookie)
    result.headers.add("cookie", cookie);
  return result;
}

RequestHead to_http2(const RequestHead& head, std::string_view default_scheme) {
  if (head.version == Version::kHttp2) {
    RequestHead result = head;
    result.headers = http2_fields(head.headers, "");
    return result;
  }
  RequestHead result;
  result.version = Version::kHttp2;
  result.method = head.method;
  result.headers = http2_fields(head.headers, "host");
  const std::string_view host = head.headers.find("host").value_or("");
  if (head.method == "CONNECT") {
    result.authority = head.target;
    return result;
  }
  std::string_view scheme, authority, path;
  if (split_absolute(head.target, scheme, authority, path)) {
    result.scheme = scheme;
    result.authority = authority;
    result.target = path.starts_with('/') ? std::string(path) : "/" + std::string(path);
  } else {
    result.scheme = default_scheme;
    result.authority = host;
    result.target = head.target;
  }
  return result;
}

ResponseHead to_http1(const ResponseHead& head) {
  if (head.version != Version::kHttp2)
    return head;
  ResponseHead result{head.status, std::string(reason_phrase(head.status)), Version::kHttp11, {}};
  result.headers.reserve(head.headers.size(), 1024);
  for (const Header header : head.headers) {
    if (!is_hop_by_hop(header.name))
      result.headers.add(header.name, header.value);
  }
  return result;
}

ResponseHead to_http2(const ResponseHead& head) {
  return {head.status, {}, Version::kHttp2, http2_fields(head.headers, "")};
}

}  // namespace mirrord::net::http
