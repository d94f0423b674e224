// tests/fuzz/http_filter_fuzz.cpp — any text as the expressions of a filter, any request against them: no
// crash, and an end within the filter's own limit.
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "applets/http_filter.h"

using namespace mirrord;
using proto::HttpFilter;

namespace {

// Lines, of which the last has the rest.
std::vector<std::string> split(std::string_view text, std::size_t count) {
  std::vector<std::string> parts;
  while (parts.size() + 1 < count && text.find('\n') != std::string_view::npos) {
    parts.emplace_back(text.substr(0, text.find('\n')));
    text.remove_prefix(parts.back().size() + 1);
  }
  parts.emplace_back(text);
  parts.resize(count);
  return parts;
}

HttpFilter filter_of(char kind, const std::string& one, const std::string& two) {
  switch (kind & 3) {
    case 0:
      return HttpFilter::make<"Header">(one);
    case 1:
      return HttpFilter::make<"Path">(one);
    case 2:
      return HttpFilter::make<"HeaderJq">(one);
    default:
      return HttpFilter::make<"Body">(
          proto::HttpBodyFilter::make<"Json">(proto::HttpBodyFilterJson{one, two}));
  }
}

}  // namespace

// The kind, two expressions, a header's value, a target and a body, each on a line of its own.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2)
    return 0;
  const auto parts = split({reinterpret_cast<const char*>(data) + 1, size - 1}, 5);
  const HttpFilter one = filter_of(static_cast<char>(data[0]), parts[0], parts[1]);
  const HttpFilter both = HttpFilter::make<"Composite">(
      proto::HttpFilterComposite{(data[0] & 4) != 0, {one, HttpFilter::make<"Header">("^x: a")}});
  net::http::RequestHead head{.method = "GET", .target = parts[3]};
  head.headers.add("X", parts[2]);
  for (const HttpFilter* filter : {&one, &both}) {
    const auto compiled = CompiledHttpFilter::compile(*filter);
    if (!compiled) {
      if (compiled.error().what.empty())
        std::abort();
      continue;
    }
    const auto begin = std::chrono::steady_clock::now();
    const auto verdict = compiled->match(head);
    if (verdict == CompiledHttpFilter::Verdict::kNeedsBody && !compiled->may_need_body())
      std::abort();
    if (compiled->match(head, net::http::as_bytes(parts[4])) ==
        CompiledHttpFilter::Verdict::kNeedsBody)
      std::abort();
    if (std::chrono::steady_clock::now() - begin > std::chrono::seconds(8))
      std::abort();  // far beyond the limit, also on a loaded machine with sanitizers
  }
  return 0;
}
