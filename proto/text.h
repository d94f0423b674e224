// proto/text.h — the rules for text on the wire: UTF-8, HTTP tokens, URIs and header fields.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proto/http.h"

namespace mirrord::proto {

bool is_utf8(std::string_view text);
// The length of the well-formed sequence (RFC 3629) that `text`, which is not empty, begins with; 0: there is none.
std::size_t utf8_length(std::string_view text);

// A non-empty HTTP token: a method or a header name.
bool is_http_token(std::string_view text);
// Header names are tokens of at most 65,535 bytes, here also in lower case.
bool is_header_name(std::string_view text);
bool is_header_value(std::string_view text);

// The URI as the HTTP library of the original would print it after parsing: without fragment,
// with a path after an absolute form's authority. Nothing if it is not a URI.
std::optional<std::string> normalize_uri(std::string_view text);

// Checks names and values, lower-cases names and groups values by name; false if one is invalid.
bool normalize_headers(HttpHeaders& headers);

// Appends text as a JSON string literal.
void append_json_string(std::string& out, std::string_view text);
void append_hex(std::string& out, std::string_view bytes);
// Two digits per byte, any case; nothing if malformed.
std::optional<std::string> parse_hex(std::string_view hex);

}  // namespace mirrord::proto
