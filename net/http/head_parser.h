// net/http/head_parser.h — HTTP/1 heads and trailers, line by line and strictly (RFC 9112 §2 to §5).
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "net/http/limits.h"
#include "net/http/message.h"

namespace mirrord::net::http {

// Refused: a line that does not end with CR LF, CR anywhere else, NUL and other control characters, folded
// lines, white space around a name, a name that is no token, another version than 1.0 and 1.1.
class HeadParser {
 public:
  enum class Kind { kRequest, kResponse, kTrailers };
  enum class State { kNeedsMore, kDone, kBad };

  HeadParser(Kind kind, const Limits& limits) : kind_(kind), limits_(&limits) {}
  // Begins a new head.
  void restart(Kind kind);

  // Takes lines from the front of `bytes` until the head is done or broken, and returns how many bytes
  // are used up. What is left of `bytes` in kNeedsMore is the beginning of a line: give it again with more.
  std::size_t parse(std::span<const std::byte> bytes);

  [[nodiscard]] State state() const { return state_; }
  // Bytes of a head that is not complete, without the line that has begun.
  [[nodiscard]] std::size_t size() const { return size_; }
  // In kBad: what to answer, and why.
  [[nodiscard]] int error_status() const { return error_status_; }
  [[nodiscard]] std::string_view error() const { return error_; }

  // In kDone, once. Of kTrailers only the fields are filled.
  RequestHead take_request() { return std::move(request_); }
  ResponseHead take_response() { return std::move(response_); }
  Headers take_trailers() { return std::move(request_.headers); }

 private:
  void take_line(std::string_view line);
  void take_request_line(std::string_view line);
  void take_status_line(std::string_view line);
  void take_field(std::string_view line);
  void check_partial(std::size_t line_size);
  void refuse(int status, std::string_view why);
  [[nodiscard]] Headers& fields() {
    return kind_ == Kind::kResponse ? response_.headers : request_.headers;
  }

  Kind kind_;
  const Limits* limits_;
  State state_ = State::kNeedsMore;
  bool has_first_line_ = false;
  std::size_t empty_lines_ = 0;
  std::size_t size_ = 0;
  RequestHead request_;
  ResponseHead response_;
  int error_status_ = 0;
  std::string_view error_;
};

}  // namespace mirrord::net::http
