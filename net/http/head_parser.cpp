// net/http/head_parser.cpp — see the header; one function per kind of line.
#include "net/http/head_parser.h"

#include <algorithm>
#include <cstring>

namespace mirrord::net::http {

namespace {

// "HTTP/1.0" and "HTTP/1.1" only.
bool parse_version(std::string_view text, Version& version) {
  if (text.size() != 8 || !text.starts_with("HTTP/1.") || (text[7] != '0' && text[7] != '1'))
    return false;
  version = text[7] == '0' ? Version::kHttp10 : Version::kHttp11;
  return true;
}

}  // namespace

void HeadParser::restart(Kind kind) {
  kind_ = kind;
  state_ = State::kNeedsMore;
  has_first_line_ = false;
  empty_lines_ = size_ = 0;
  request_ = {};
  response_ = {};
}

std::size_t HeadParser::parse(std::span<const std::byte> bytes) {
  const std::string_view text = as_text(bytes);
  if (size_ == 0 && state_ == State::kNeedsMore)
    fields().reserve(16, std::min<std::size_t>(text.size(), 1024));
  std::size_t used = 0;
  while (state_ == State::kNeedsMore) {
    const void* found = std::memchr(text.data() + used, '\n', text.size() - used);
    if (found == nullptr) {
      check_partial(text.size() - used);
      break;
    }
    const auto end = static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
    const std::string_view line = text.substr(used, end - used);
    used = end + 1;
    size_ += line.size() + 1;
    if (line.empty() || line.back() != '\r')
      refuse(400, "a line of the head ends without a carriage return");
    else
      take_line(line.substr(0, line.size() - 1));
  }
  return used;
}

void HeadParser::take_line(std::string_view line) {
  if (!has_first_line_ && kind_ != Kind::kTrailers) {
    if (line.empty() && kind_ == Kind::kRequest && empty_lines_ < limits_->leading_empty_lines) {
      ++empty_lines_;
      size_ = 0;
      return;
    }
    has_first_line_ = true;
    if (kind_ == Kind::kRequest)
      take_request_line(line);
    else
      take_status_line(line);
  } else if (line.empty()) {
    state_ = State::kDone;
  } else {
    take_field(line);
  }
  if (state_ != State::kBad && size_ > limits_->head_bytes)
    refuse(431, "the head is too long");
}

void HeadParser::check_partial(std::size_t line_size) {
  if (kind_ == Kind::kRequest && !has_first_line_ && line_size > limits_->request_line_bytes)
    refuse(414, "the request line is too long");
  else if (size_ + line_size > limits_->head_bytes)
    refuse(431, "the head is too long");
}

void HeadParser::take_request_line(std::string_view line) {
  if (line.size() > limits_->request_line_bytes)
    return refuse(414, "the request line is too long");
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last)
    return refuse(400, "the request line is not a method, a target and a version");
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!is_token(method))
    return refuse(400, "the request's method is not a token");
  if (!is_target(target))
    return refuse(400, "the request's target has a character that is not allowed in it");
  if (!parse_version(version, request_.version)) {
    const bool is_http = version.starts_with("HTTP/") && version.size() == 8;
    return refuse(is_http ? 505 : 400, "the request's version is not HTTP/1.0 or HTTP/1.1");
  }
  request_.method = method;
  request_.target = target;
}

void HeadParser::take_status_line(std::string_view line) {
  // "HTTP/1.1 200" with or without a reason, whose space some servers leave out.
  if (line.size() < 12 || line[8] != ' ' || !parse_version(line.substr(0, 8), response_.version))
    return refuse(502, "the status line is not one of HTTP/1.0 or HTTP/1.1");
  int status = 0;
  for (const char digit : line.substr(9, 3)) {
    if (digit < '0' || digit > '9')
      return refuse(502, "the status is not a number of three digits");
    status = status * 10 + (digit - '0');
  }
  if (status < 100 || (line.size() > 12 && line[12] != ' '))
    return refuse(502, "the status is not a number of three digits");
  if (line.size() > 13)
    response_.reason = line.substr(13);
  if (!is_field_value(response_.reason))
    return refuse(502, "the reason phrase has a control character");
  response_.status = status;
}

void HeadParser::take_field(std::string_view line) {
  if (line.front() == ' ' || line.front() == '\t')
    return refuse(400, "a header field is folded into several lines");
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon)))
    return refuse(400, "a header field's name is not a token");
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t'))
    value.remove_prefix(1);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t'))
    value.remove_suffix(1);
  if (!is_field_value(value))
    return refuse(400, "a header field's value has a control character");
  if (fields().size() == limits_->header_count)
    return refuse(431, "the head has too many fields");
  fields().add(line.substr(0, colon), value);
}

void HeadParser::refuse(int status, std::string_view why) {
  state_ = State::kBad;
  error_status_ = kind_ == Kind::kResponse ? 502 : status;
  error_ = why;
}

}  // namespace mirrord::net::http
