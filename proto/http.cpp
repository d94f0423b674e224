// proto/http.cpp — checks and canonical forms of HTTP methods, URIs, versions and header fields.
#include "proto/http.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "proto/text.h"

namespace mirrord::proto {

namespace {

constexpr std::array<std::string_view, 5> kVersions{"HTTP/0.9", "HTTP/1.0", "HTTP/1.1", "HTTP/2.0",
                                                    "HTTP/3.0"};
constexpr std::size_t kMaxUriLength = 65534;
constexpr std::size_t kMaxHeaderNameLength = 65535;
constexpr std::size_t kMaxSchemeLength = 64;

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_token_char(char c) {
  return is_alphanumeric(c) || std::string_view("!#$%&'*+-.^_`|~").contains(c);
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), text.begin(),
                                                    [](char a, char b) { return a == lower(b); });
}

// The scheme before "://", empty if the text has none; nothing if it is too long.
std::optional<std::string_view> parse_scheme(std::string_view text) {
  for (const std::string_view known : {"http", "https"})
    if (starts_with_ignoring_case(text, known) && text.substr(known.size()).starts_with("://"))
      return text.substr(0, known.size());
  const auto end = std::find_if_not(text.begin(), text.end(), [](char c) {
    return is_alphanumeric(c) || std::string_view("+-.").contains(c);
  });
  const auto length = static_cast<std::size_t>(end - text.begin());
  if (!text.substr(length).starts_with("://"))
    return std::string_view();
  if (length > kMaxSchemeLength)
    return std::nullopt;
  return text.substr(0, length);
}

// The length of the authority at the start of text; nothing if it is malformed. A port is at most
// one colon after the last ']' and '@'; a '%' is allowed only before those.
std::optional<std::size_t> parse_authority(std::string_view text) {
  int colons = 0;
  bool opened = false;
  bool closed = false;
  bool has_percent = false;
  std::optional<std::size_t> at_sign;
  std::size_t end = 0;
  for (; end < text.size(); ++end) {
    const char c = text[end];
    if (c == '/' || c == '?' || c == '#')
      break;
    if (c == ':') {
      if (++colons > 8)
        return std::nullopt;
    } else if (c == '[') {
      if (has_percent || opened)
        return std::nullopt;
      opened = true;
    } else if (c == ']') {
      if (!opened || closed)
        return std::nullopt;
      closed = true;
      colons = 0;
      has_percent = false;
    } else if (c == '@') {
      at_sign = end;
      colons = 0;
      has_percent = false;
    } else if (c == '%') {
      has_percent = true;
    } else if (!is_alphanumeric(c) && !std::string_view("!$&'()*+,-.;=_~").contains(c)) {
      return std::nullopt;
    }
  }
  const bool nothing_after_at_sign = at_sign && *at_sign + 1 == end;
  if (opened != closed || colons > 1 || nothing_after_at_sign || has_percent)
    return std::nullopt;
  return end;
}

// Path and query without the fragment; nothing if a character is not allowed there.
std::optional<std::string_view> parse_path_and_query(std::string_view text) {
  text = text.substr(0, text.find('#'));
  bool in_query = false;
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (code <= 0x20)
      return std::nullopt;
    const std::string_view refused = in_query ? "\"<>" : "<>`";
    if (refused.contains(c))
      return std::nullopt;
    in_query = in_query || c == '?';
  }
  return text;
}

}  // namespace

std::string_view to_string(HttpVersion version) {
  return kVersions[static_cast<std::size_t>(version)];
}

std::optional<HttpVersion> parse_http_version(std::string_view text) {
  for (std::size_t i = 0; i < kVersions.size(); ++i)
    if (kVersions[i] == text)
      return static_cast<HttpVersion>(i);
  return std::nullopt;
}

bool is_http_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token_char);
}

bool is_header_name(std::string_view text) {
  return text.size() <= kMaxHeaderNameLength && is_http_token(text) &&
         std::none_of(text.begin(), text.end(), [](char c) { return c != lower(c); });
}

bool is_header_value(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto code = static_cast<unsigned char>(c);
    return c == '\t' || (code >= 0x20 && code != 0x7F);
  });
}

std::optional<std::string> normalize_uri(std::string_view text) {
  if (text.empty() || text.size() > kMaxUriLength)
    return std::nullopt;
  if (text == "*")
    return std::string(text);
  if (text[0] == '/') {
    const auto path = parse_path_and_query(text);
    return path ? std::optional<std::string>(*path) : std::nullopt;
  }
  const auto scheme = parse_scheme(text);
  if (!scheme)
    return std::nullopt;
  if (!scheme->empty())
    text.remove_prefix(scheme->size() + 3);
  const auto authority = parse_authority(text);
  if (!authority || *authority == 0)
    return std::nullopt;
  if (scheme->empty())
    return *authority == text.size() ? std::optional<std::string>(text) : std::nullopt;
  const auto path = parse_path_and_query(text.substr(*authority));
  if (!path)
    return std::nullopt;

  std::string uri(*scheme);
  if (starts_with_ignoring_case(uri, "http") && uri.size() <= 5)
    std::transform(uri.begin(), uri.end(), uri.begin(), lower);
  uri += "://";
  uri += text.substr(0, *authority);
  if (!path->starts_with('/'))
    uri += '/';
  uri += *path;
  return uri;
}

void HttpHeaders::add(std::string_view name, std::string value) {
  std::string key(name);
  std::transform(key.begin(), key.end(), key.begin(), lower);
  for (HttpHeader& entry : entries) {
    if (entry.name == key) {
      entry.values.push_back(std::move(value));
      return;
    }
  }
  HttpHeader entry{std::move(key), {}};
  entry.values.push_back(std::move(value));
  entries.push_back(std::move(entry));
}

const HttpHeader* HttpHeaders::find(std::string_view lower_case_name) const {
  for (const HttpHeader& entry : entries)
    if (entry.name == lower_case_name)
      return &entry;
  return nullptr;
}

bool normalize_headers(HttpHeaders& headers) {
  std::vector<HttpHeader> grouped;
  grouped.reserve(headers.entries.size());  // the map below points into it
  std::unordered_map<std::string_view, std::size_t> position_of;
  for (HttpHeader& entry : headers.entries) {
    std::transform(entry.name.begin(), entry.name.end(), entry.name.begin(), lower);
    if (!is_header_name(entry.name) ||
        !std::all_of(entry.values.begin(), entry.values.end(), is_header_value))
      return false;
    if (entry.values.empty())
      continue;
    const auto known = position_of.find(entry.name);
    if (known == position_of.end()) {
      grouped.push_back(std::move(entry));
      position_of.emplace(grouped.back().name, grouped.size() - 1);
    } else {
      auto& values = grouped[known->second].values;
      values.insert(values.end(), std::make_move_iterator(entry.values.begin()),
                    std::make_move_iterator(entry.values.end()));
    }
  }
  headers.entries = std::move(grouped);
  return true;
}

}  // namespace mirrord::proto
