// net/http/message.cpp — header lists, and the words and tables of RFC 9110 that every part needs.
#include "net/http/message.h"

#include <algorithm>
#include <array>

namespace mirrord::net::http {

namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}

constexpr auto kIsTokenByte = [] {
  std::array<bool, 256> table{};
  for (int c = '0'; c <= '9'; ++c)
    table[static_cast<std::size_t>(c)] = true;
  for (int c = 'a'; c <= 'z'; ++c)
    table[static_cast<std::size_t>(c)] = table[static_cast<std::size_t>(c - 32)] = true;
  for (const char c : std::string_view("!#$%&'*+-.^_`|~"))
    table[static_cast<unsigned char>(c)] = true;
  return table;
}();

// RFC 9110 §15.
constexpr std::pair<int, std::string_view> kReasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

}  // namespace

Headers::Headers(std::initializer_list<Header> headers) {
  for (const Header& header : headers)
    add(header.name, header.value);
}

std::optional<std::string_view> Headers::find(std::string_view name) const {
  for (const Header header : *this) {
    if (equals_ignoring_case(header.name, name))
      return header.value;
  }
  return std::nullopt;
}

bool Headers::has_token(std::string_view name, std::string_view token) const {
  for (const Header header : *this) {
    if (!equals_ignoring_case(header.name, name))
      continue;
    bool is_found = false;
    for_each_token(header.value, [&](std::string_view item) {
      is_found = is_found || equals_ignoring_case(item, token);
    });
    if (is_found)
      return true;
  }
  return false;
}

void Headers::reserve(std::size_t fields, std::size_t bytes) {
  entries_.reserve(fields);
  text_.reserve(bytes);
}

void Headers::add(std::string_view name, std::string_view value) {
  entries_.push_back({static_cast<std::uint32_t>(text_.size()),
                      static_cast<std::uint32_t>(name.size()),
                      static_cast<std::uint32_t>(value.size())});
  text_.append(name);
  text_.append(value);
}

void Headers::set(std::string_view name, std::string_view value) {
  const std::string copy(value);  // it may lie in our own text
  bool is_first = true;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const std::string spelling = text_.substr(entry->offset, entry->name_size);
    if (!equals_ignoring_case(spelling, name)) {
      ++entry;
    } else if (is_first) {
      is_first = false;
      *entry = {static_cast<std::uint32_t>(text_.size()), entry->name_size,
                static_cast<std::uint32_t>(copy.size())};
      text_.append(spelling).append(copy);
      ++entry;
    } else {
      entry = entries_.erase(entry);
    }
  }
  if (is_first)
    add(std::string(name), copy);
}

void Headers::remove(std::string_view name) {
  const std::string copy(name);
  std::erase_if(entries_, [&](const Entry& entry) {
    return equals_ignoring_case({text_.data() + entry.offset, entry.name_size}, copy);
  });
}

void Headers::clear() {
  text_.clear();
  entries_.clear();
}

bool operator==(const Headers& one, const Headers& other) {
  return std::equal(one.begin(), one.end(), other.begin(), other.end());
}

bool equals_ignoring_case(std::string_view one, std::string_view other) {
  return one.size() == other.size() &&
         std::equal(one.begin(), one.end(), other.begin(),
                    [](char a, char b) { return lower(a) == lower(b); });
}

std::string lower_case(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), lower);
  return result;
}

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return kIsTokenByte[static_cast<unsigned char>(c)];
  });
}

bool is_field_value(std::string_view text) {
  return std::ranges::none_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && byte != '\t') || byte == 0x7f;
  });
}

bool is_target(std::string_view text) {
  return !text.empty() && std::ranges::none_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte <= 0x20 || byte == 0x7f;
  });
}

std::string_view reason_phrase(int status) {
  const auto* found = std::ranges::find(kReasons, status, &std::pair<int, std::string_view>::first);
  return found == std::end(kReasons) ? std::string_view() : found->second;
}

std::string_view to_string(Version version) {
  switch (version) {
    case Version::kHttp10:
      return "HTTP/1.0";
    case Version::kHttp11:
      return "HTTP/1.1";
    case Version::kHttp2:
      return "HTTP/2.0";
  }
  return "";
}

bool asks_upgrade(const RequestHead& head) {
  return head.version == Version::kHttp11 && head.headers.contains("upgrade") &&
         head.headers.has_token("connection", "upgrade");
}

bool is_tunnel(std::string_view method, int status) {
  return status == 101 || (method == "CONNECT" && status >= 200 && status < 300);
}

bool is_bodiless(std::string_view method, int status) {
  return method == "HEAD" || (status >= 100 && status < 200) || status == 204 || status == 304;
}

namespace {

bool are_valid(const Headers& headers) {
  for (const Header header : headers) {
    if (!is_token(header.name) || !is_field_value(header.value))
      return false;
  }
  return true;
}

}  // namespace

bool is_valid(const RequestHead& head) {
  const bool has_target = head.version == Version::kHttp2 && head.method == "CONNECT"
                              ? is_target(head.authority)
                              : is_target(head.target);
  return is_token(head.method) && has_target && is_field_value(head.authority) &&
         is_field_value(head.scheme) && are_valid(head.headers);
}

bool is_valid(const ResponseHead& head) {
  return head.status >= 100 && head.status <= 999 && is_field_value(head.reason) &&
         are_valid(head.headers);
}

bool are_valid_trailers(const Headers& trailers) {
  return are_valid(trailers);
}

}  // namespace mirrord::net::http
