// tests/unit/net/http/http1_server_test.cpp — the server's side of HTTP/1: exchanges, framing, keep-alive, tunnels, ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/net/http/peers.h"

namespace mirrord::net::http::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

TEST(Http1Server, HandsOutARequestWithItsFieldsAsTheyAreAndAnswersIt) {
  Server server(Protocol::kHttp1);
  server.receive(
      "GET /a?b=c HTTP/1.1\r\nHost: shop\r\nX-Odd-CASE:  two words \r\naccept: */*\r\n\r\n");
  EXPECT_THAT(server.take_log(),
              ElementsAre("1 GET /a?b=c HTTP/1.1|Host: shop|X-Odd-CASE: two words|accept: */*",
                          "1 body []"));
  EXPECT_THAT(server.starts, ElementsAre("."));
  server.answer(1, 200, "hello", {{"X-MiXed", "yes"}});
  EXPECT_EQ(server.take_output(),
            "HTTP/1.1 200 OK\r\nX-MiXed: yes\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_THAT(server.take_log(), IsEmpty());
  EXPECT_TRUE(server.connection.is_idle());
}

TEST(Http1Server, TheSameBytesInPiecesAreTheSameEvents) {
  const std::string text =
      "\r\nPOST /one HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\nTrailer: sum\r\n\r\n"
      "5;why=not\r\nhello\r\nA\r\n, world...\r\n0\r\nsum: 15\r\nOther:  x\r\n\r\n"
      "PUT /two HTTP/1.1\r\nHost: shop\r\nContent-Length: 3\r\n\r\nabc"
      "DELETE /three HTTP/1.1\r\nHost: shop\r\n\r\n"
      "QUERY * HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n";
  const Log expected = {
      "1 POST /one HTTP/1.1|Host: shop|Transfer-Encoding: chunked|Trailer: sum",
      "1 body [hello, world...]|sum: 15|Other: x",
      "2 PUT /two HTTP/1.1|Host: shop|Content-Length: 3",
      "2 body [abc]",
      "3 DELETE /three HTTP/1.1|Host: shop",
      "3 body []",
      "4 QUERY * HTTP/1.0|Connection: Keep-Alive|Content-Length: 0",
      "4 body []",
      "closed",  // the answer does not say keep-alive
  };
  for (std::size_t step = 1; step <= text.size(); ++step) {
    Server server(Protocol::kDetect);
    server.receive(text, step);
    for (ExchangeId id = 1; id <= 4; ++id)
      server.answer(id, 204, "");
    auto log = server.take_log();
    std::erase(log, "input wanted");
    EXPECT_EQ(log, expected) << "in pieces of " << step;
  }
}

TEST(Http1Server, PipelinedRequestsAreHandedOutOneAfterTheOther) {
  Server server(Protocol::kHttp1);
  const std::string one = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n",
                    two = "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
  server.receive(one + two + "GET /3 HT");
  EXPECT_THAT(server.take_log(), ElementsAre(StartsWith("1 GET /1"), "1 body []"));
  EXPECT_FALSE(server.connection.wants_input());
  server.answer(1, 200, "first");
  EXPECT_THAT(server.take_log(), ElementsAre(StartsWith("2 GET /2"), "2 body []"));
  server.answer(2, 200, "second");
  EXPECT_THAT(server.take_log(), ElementsAre("input wanted"));
  EXPECT_EQ(server.connection.partial_head(), 9u);
  server.receive("TP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(server.take_log(), ElementsAre(StartsWith("3 GET /3"), "3 body []"));
  EXPECT_THAT(server.take_output(), ::testing::MatchesRegex("HTTP/1.1 200 OK.*first.*second"));
}

TEST(Http1Server, AnswersWithinTheRequestsOwnEventKeepTheirOrder) {
  Server server(Protocol::kHttp1);
  server.on_request = [&](ExchangeId id) { server.answer(id, 200, std::to_string(id)); };
  std::string text;
  for (int i = 0; i < 1000; ++i)
    text += "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  server.receive(text);
  std::string expected;
  for (int i = 1; i <= 1000; ++i) {
    const std::string body = std::to_string(i);
    expected +=
        "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  EXPECT_EQ(server.take_output(), expected);
}

}  // namespace
}  // namespace mirrord::net::http::testing
