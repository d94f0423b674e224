// applets/http_filter.h — a filter of HTTP requests, compiled: which requests a session wants.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "net/error.h"
#include "net/http/message.h"
#include "proto/http.h"

namespace mirrord {

// Compiled once, matched against any number of requests; not for several threads at once.
//
// The rules are the original's: regular expressions (net/query/regex.h) are searched in each
// "name: value" (name in lower case; values with anything but visible ASCII, blanks and tabs are
// passed over), and in the path without, then with its query; letter case does not matter there. A
// method is compared without case. A body is asked by JSONPath (net/query/json_path.h) for values of
// which one has to hold the expression, letter case as written. A jq program (net/query/jq.h) gets
// each "name: value", and its first boolean decides. Parts of a composite are asked in order, as far
// as they matter.
class CompiledHttpFilter {
 public:
  // A match takes no longer than this, whatever the filter and the request.
  static constexpr std::chrono::milliseconds kTimeLimit{50};

  enum class Verdict {
    kMatch,
    kNoMatch,
    kNeedsBody,  // the head does not decide
    kGaveUp,     // too expensive to find out: like kNoMatch, and worth a line in the log
  };

  // The error names the part of the filter and the place in its expression.
  static Result<CompiledHttpFilter> compile(const proto::HttpFilter& filter);
  CompiledHttpFilter(CompiledHttpFilter&&) noexcept;
  CompiledHttpFilter& operator=(CompiledHttpFilter&&) noexcept;
  ~CompiledHttpFilter();

  // What the head alone says.
  [[nodiscard]] Verdict match(const net::http::RequestHead& head) const;
  // With the whole body; nullopt: it was too long or too late, so that no filter of bodies matches.
  // Never kNeedsBody.
  [[nodiscard]] Verdict match(const net::http::RequestHead& head,
                              std::optional<std::span<const std::byte>> body) const;

  // Whether some request could get kNeedsBody.
  [[nodiscard]] bool may_need_body() const;

 private:
  struct Part;
  explicit CompiledHttpFilter(std::unique_ptr<Part> root);
  std::unique_ptr<Part> root_;
};

// For people: header ~ `x-user: me` and path ~ `^/api`.
std::string describe(const proto::HttpFilter& filter);

}  // namespace mirrord
