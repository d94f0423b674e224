// tests/unit/http_filter_test.cpp — which requests a filter lets through, and when it can tell.
#include "applets/http_filter.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

using namespace mirrord;
using net::http::Headers;
using net::http::RequestHead;
using proto::HttpFilter;
using Verdict = CompiledHttpFilter::Verdict;

namespace {

HttpFilter header(std::string text) {
  return HttpFilter::make<"Header">(std::move(text));
}
HttpFilter path(std::string text) {
  return HttpFilter::make<"Path">(std::move(text));
}
HttpFilter jq(std::string text) {
  return HttpFilter::make<"HeaderJq">(std::move(text));
}
HttpFilter body(std::string query, std::string expression) {
  proto::HttpBodyFilter filter = proto::HttpBodyFilter::make<"Json">(
      proto::HttpBodyFilterJson{std::move(query), std::move(expression)});
  return HttpFilter::make<"Body">(std::move(filter));
}
HttpFilter composite(bool all, std::vector<HttpFilter> parts) {
  return HttpFilter::make<"Composite">(proto::HttpFilterComposite{all, std::move(parts)});
}

RequestHead request(std::string target, Headers headers = {}) {
  return {.method = "GET", .target = std::move(target), .headers = std::move(headers)};
}

CompiledHttpFilter compiled(const HttpFilter& filter) {
  auto result = CompiledHttpFilter::compile(filter);
  if (!result)
    ADD_FAILURE() << result.error().what;
  return result ? std::move(*result) : *CompiledHttpFilter::compile(header("^$"));
}

bool is_match(const HttpFilter& filter, const RequestHead& head) {
  return compiled(filter).match(head) == Verdict::kMatch;
}

Verdict with_body(const HttpFilter& filter, std::string_view text) {
  return compiled(filter).match(request("/"), net::http::as_bytes(text));
}

}  // namespace

TEST(HttpFilter, Headers) {
  const RequestHead head = request("/", {{"Host", "example"}, {"X-User", "Me"}, {"X-User", "you"}});
  EXPECT_TRUE(is_match(header("^x-user: me$"), head));
  EXPECT_TRUE(is_match(header("X-USER: YOU"), head));
  EXPECT_FALSE(is_match(header("^X-User: (?-i:me)$"), head));
  EXPECT_TRUE(is_match(header("^(?-i:x-user): (?-i:Me)$"), head));  // the name in lower case
  EXPECT_FALSE(is_match(header("^user"), head));
  EXPECT_FALSE(is_match(header("me.*you"), head));  // each field by itself
  EXPECT_TRUE(is_match(header("^x-user: (?!me)"), head));
}

TEST(HttpFilter, ValuesThatAreNotVisibleAsciiArePassedOver) {
  EXPECT_FALSE(is_match(header("x-name"), request("/", {{"X-Name", "J\xc3\xbcrgen"}})));
  EXPECT_FALSE(is_match(header("x-name"), request("/", {{"X-Name", "a\x01"}})));
  EXPECT_TRUE(is_match(header("x-name: a\tb"), request("/", {{"X-Name", "a\tb"}})));
  EXPECT_TRUE(is_match(header("^x-name: $"), request("/", {{"X-Name", ""}})));
}

TEST(HttpFilter, PathWithoutThenWithItsQuery) {
  EXPECT_TRUE(is_match(path("^/api/v1$"), request("/api/V1?a=b")));
  EXPECT_TRUE(is_match(path("a=b$"), request("/api?a=b")));
  EXPECT_FALSE(is_match(path("a=c"), request("/api?a=b")));
  EXPECT_TRUE(is_match(path("^/x$"), request("http://example:80/x")));
  EXPECT_FALSE(is_match(path("example"), request("http://example/x")));
  EXPECT_TRUE(is_match(path("^/$"), request("http://example")));
  EXPECT_TRUE(is_match(path("^\\*$"), request("*")));
  EXPECT_FALSE(is_match(path(""), request("example:443")));
  EXPECT_TRUE(is_match(path("^/go\\?to=http://x/$"), request("/go?to=http://x/")));
}

TEST(HttpFilter, Methods) {
  RequestHead head = request("/");
  head.method = "post";
  EXPECT_TRUE(is_match(HttpFilter::make<"Method">(proto::HttpMethodFilter::make<"Post">()), head));
  EXPECT_FALSE(is_match(HttpFilter::make<"Method">(proto::HttpMethodFilter::make<"Get">()), head));
  head.method = "PURGE";
  EXPECT_TRUE(is_match(
      HttpFilter::make<"Method">(proto::HttpMethodFilter::make<"Other">(std::string("purge"))),
      head));
}

TEST(HttpFilter, JqOnEachHeader) {
  const RequestHead head = request("/", {{"X-Trace", "a1"}, {"X-User", "me"}});
  EXPECT_TRUE(is_match(jq(R"(split(": ") | .[0] == "x-user" and .[1] == "me")"), head));
  EXPECT_TRUE(is_match(jq(R"(., test("^x-user: "))"), head));  // the first boolean counts
  EXPECT_FALSE(is_match(jq(R"(false, true)"), head));
  EXPECT_FALSE(is_match(jq(R"(., 1)"), head));  // no boolean at all
  EXPECT_FALSE(is_match(jq(R"(.[0])"), head));  // an error
}

TEST(HttpFilter, JsonBodies) {
  const HttpFilter filter = body("$.user[*].id", "^(me|7|\\{.*\\})$");
  EXPECT_EQ(with_body(filter, R"({"user": [{"id": "you"}, {"id": "me"}]})"), Verdict::kMatch);
  EXPECT_EQ(with_body(filter, R"({"user": [{"id": 7}]})"), Verdict::kMatch);
  EXPECT_EQ(with_body(filter, R"({"user": [{"id": 7.0}]})"), Verdict::kNoMatch);
  EXPECT_EQ(with_body(filter, R"({"user": [{"id": {"a": 1}}]})"), Verdict::kMatch);
  EXPECT_EQ(with_body(filter, R"({"user": [{"id": "ME"}]})"), Verdict::kNoMatch);
  EXPECT_EQ(with_body(filter, R"({"user": [{"id": "me"})"), Verdict::kNoMatch);
  EXPECT_EQ(with_body(filter, ""), Verdict::kNoMatch);
  EXPECT_EQ(compiled(filter).match(request("/")), Verdict::kNeedsBody);
  EXPECT_EQ(compiled(filter).match(request("/"), std::nullopt), Verdict::kNoMatch);
}

TEST(HttpFilter, TheHeadDecidesWhereItCan) {
  const RequestHead head = request("/", {{"X-User", "me"}});
  const HttpFilter yes = header("x-user: me");
  const HttpFilter no = header("x-user: you");
  const HttpFilter asks = body("$.a", "1");
  const auto verdict = [&](bool all, std::vector<HttpFilter> parts) {
    return compiled(composite(all, std::move(parts))).match(head);
  };
  EXPECT_EQ(verdict(true, {no, asks}), Verdict::kNoMatch);
  EXPECT_EQ(verdict(true, {asks, no}), Verdict::kNoMatch);
  EXPECT_EQ(verdict(true, {yes, asks}), Verdict::kNeedsBody);
  EXPECT_EQ(verdict(false, {yes, asks}), Verdict::kMatch);
  EXPECT_EQ(verdict(false, {asks, yes}), Verdict::kMatch);
  EXPECT_EQ(verdict(false, {no, asks}), Verdict::kNeedsBody);
  EXPECT_EQ(verdict(true, {}), Verdict::kMatch);
  EXPECT_EQ(verdict(false, {}), Verdict::kNoMatch);
  EXPECT_EQ(verdict(true, {yes, composite(false, {no, composite(true, {yes})})}), Verdict::kMatch);
  EXPECT_TRUE(compiled(composite(false, {yes, asks})).may_need_body());
  EXPECT_FALSE(compiled(composite(false, {yes, no})).may_need_body());
  EXPECT_EQ(compiled(composite(true, {yes, asks})).match(head, net::http::as_bytes(R"({"a":1})")),
            Verdict::kMatch);
}

TEST(HttpFilter, GivesUpInsteadOfBlocking) {
  const RequestHead head = request("/", {{"X", std::string(60'000, 'a')}});
  EXPECT_EQ(compiled(header("(a+)+$x")).match(head), Verdict::kGaveUp);
  EXPECT_EQ(compiled(composite(false, {header("(a+)+$x"), header("x: a")})).match(head),
            Verdict::kGaveUp);
  EXPECT_EQ(compiled(jq("all(range(1e12); true)")).match(head), Verdict::kGaveUp);
}

TEST(HttpFilter, RefusesWhatDoesNotCompile) {
  for (const HttpFilter& bad : {header("("), path("[a"), jq("nonsense"), body("$[", "a"),
                                body("$", "*"), composite(true, {header("a"), header(")")})})
    EXPECT_FALSE(CompiledHttpFilter::compile(bad)) << describe(bad);
}

TEST(HttpFilter, Description) {
  EXPECT_EQ(describe(composite(
                true, {header("a"), composite(false, {path("b"), jq("c")}), body("$.d", "e"),
                       HttpFilter::make<"Method">(proto::HttpMethodFilter::make<"Get">())})),
            "header ~ `a` and (path ~ `b` or header | jq `c`) and JSON body `$.d` ~ `e` and "
            "method GET");
}
