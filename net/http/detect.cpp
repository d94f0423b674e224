// net/http/detect.cpp — the first line of a connection, judged byte by byte.
#include "net/http/detect.h"

#include <algorithm>
#include <string_view>

#include "net/http/message.h"

namespace mirrord::net::http {

namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0";
constexpr std::size_t kLongestMethod = 32;

// `rest` stands where "HTTP/1.x" and the line's end belong.
Detected judge_version(std::string_view rest) {
  constexpr std::string_view kVersion = "HTTP/1.";
  const std::size_t compared = std::min(rest.size(), kVersion.size());
  if (rest.substr(0, compared) != kVersion.substr(0, compared))
    return Detected::kOther;
  if (rest.size() < kVersion.size() + 1)
    return Detected::kNeedsMore;
  const char minor = rest[kVersion.size()];
  if (minor != '0' && minor != '1')
    return Detected::kOther;
  if (rest.size() < kVersion.size() + 2)
    return Detected::kNeedsMore;
  // A bare LF is HTTP/1 too: the server's parser refuses it with a proper answer.
  const char after = rest[kVersion.size() + 1];
  return after == '\r' || after == '\n' ? Detected::kHttp1 : Detected::kOther;
}

Detected judge_line(std::string_view line) {
  const std::size_t method_end = std::min(line.find(' '), line.size());
  if (method_end > kLongestMethod || !is_token(line.substr(0, method_end)))
    return Detected::kOther;
  // Methods of other protocols' first words ("SSH-2.0-…", "EHLO") are told apart by what follows.
  if (method_end == line.size())
    return Detected::kNeedsMore;
  const std::string_view after_method = line.substr(method_end + 1);
  const std::size_t target_end = std::min(after_method.find(' '), after_method.size());
  const std::string_view target = after_method.substr(0, target_end);
  if (target.empty() && !after_method.empty())
    return Detected::kOther;
  if (!target.empty() && !is_target(target))
    return Detected::kOther;
  if (target_end == after_method.size())
    return Detected::kNeedsMore;
  return judge_version(after_method.substr(target_end + 1));
}

}  // namespace

Detected detect(std::span<const std::byte> bytes) {
  std::string_view text = as_text(bytes);
  const std::size_t compared = std::min(text.size(), kPreface.size());
  if (text.substr(0, compared) == kPreface.substr(0, compared))
    return compared == kPreface.size() ? Detected::kHttp2 : Detected::kNeedsMore;
  // Empty lines before the request line are allowed (RFC 9112 §2.2).
  for (int lines = 0; lines < 4 && text.starts_with("\r\n"); ++lines)
    text.remove_prefix(2);
  if (text.empty() || text == "\r")
    return Detected::kNeedsMore;
  const Detected judged = judge_line(text);
  return judged == Detected::kNeedsMore && bytes.size() >= kDetectBytes ? Detected::kOther : judged;
}

}  // namespace mirrord::net::http
