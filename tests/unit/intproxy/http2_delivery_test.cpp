// tests/unit/intproxy/http2_delivery_test.cpp — requests of HTTP/2, delivered to a server of net/http.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "net/http/server_connection.h"
#include "tests/unit/intproxy/delivery_rig.h"

namespace mirrord::intproxy::test {
namespace {

using net::http::ExchangeId;
using net::http::Headers;
using net::http::RequestHead;
using net::http::ResponseHead;

// Runs only while the test waits for something.
class Http2Server {
 public:
  struct Request {
    ExchangeId id;
    RequestHead head;
    std::string body;
    bool has_ended = false;
  };

  explicit Http2Server(ServerEnd&& end)
      : end_(std::move(end)),
        http_(
            net::http::Protocol::kHttp2,
            {.output =
                 [this](std::span<const std::byte> bytes) {
                   end_.write(net::http::as_text(bytes));
                 },
             .request =
                 [this](ExchangeId id, RequestHead&& head, net::http::BodyStart start) {
                   requests.push_back({id, std::move(head),
                                       std::string(net::http::as_text(start.bytes)), start.is_end});
                 },
             .body =
                 [this](ExchangeId id, std::span<const std::byte> bytes) {
                   find(id).body += net::http::as_text(bytes);
                   http_.consumed(id, bytes.size());
                 },
             .body_end = [this](ExchangeId id, Headers&&) { find(id).has_ended = true; },
             .cancelled = [this](ExchangeId) { ++cancelled; },
             .drained = [](ExchangeId) {},
             .input_wanted = [] {},
             .closed = [](net::http::Close) {}}) {}

  bool wait(const std::function<bool()>& condition) {
    while (!condition()) {
      pollfd readable{end_.fd(), POLLIN, 0};
      std::array<std::byte, 65536> bytes;
      const ssize_t count =
          ::poll(&readable, 1, 5000) > 0 ? ::recv(end_.fd(), bytes.data(), bytes.size(), 0) : 0;
      if (count <= 0) {
        return false;
      }
      http_.receive(std::span(bytes).first(static_cast<std::size_t>(count)));
    }
    return true;
  }
  bool wait_for_requests(std::size_t count) {
    return wait([&] { return requests.size() >= count; });
  }
  Request& find(ExchangeId id) { return *std::ranges::find(requests, id, &Request::id); }
  net::http::ServerConnection& http() { return http_; }
  ServerEnd& end() { return end_; }

  std::vector<Request> requests;
  int cancelled = 0;

 private:
  ServerEnd end_;
  net::http::ServerConnection http_;
};

TestRequest call(proto::ConnectionId connection, const std::string& path) {
  return {.connection = connection,
          .method = "POST",
          .uri = "http://shop.example" + path,
          .version = proto::HttpVersion::kHttp2,
          .headers = {{"content-type", "application/grpc"}, {"te", "trailers"}}};
}

class Http2DeliveryTest : public testing::Test {
 protected:
  void SetUp() override { rig_.listen(server_.port()); }
  TestServer server_;
  DeliveryRig rig_;
};

ResponseHead ok() {
  return {.status = 200, .version = net::http::Version::kHttp2, .headers = {{"x-by", "server"}}};
}

TEST_F(Http2DeliveryTest, HeadsKeepTheirParts) {
  rig_.say(start_v2(call(7, "/pkg.Service/Call?x=1")));
  Http2Server server(server_.accept());
  ASSERT_TRUE(server.wait_for_requests(1));
  const RequestHead& head = server.requests[0].head;
  EXPECT_EQ(head.method, "POST");
  EXPECT_EQ(head.target, "/pkg.Service/Call?x=1");
  EXPECT_EQ(head.authority, "shop.example");
  EXPECT_EQ(head.scheme, "http");
  EXPECT_EQ(head.headers.find("te"), "trailers");
  EXPECT_TRUE(server.requests[0].has_ended);
  server.http().respond(server.requests[0].id, ok(), {{}, true});
  const TestAnswer answer = hear_answer(rig_);
  EXPECT_EQ(answer.form, "framed") << "the end goes along with the head";
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.headers.find("x-by"), nullptr);
}

TEST_F(Http2DeliveryTest, OneConnectionCarriesManyRequestsAndTheirTrailers) {
  rig_.say(start_v2(call(1, "/1")));
  Http2Server server(server_.accept());
  ASSERT_TRUE(server.wait_for_requests(1));
  rig_.say(start_v2(call(2, "/2")));
  rig_.say(start_v2(call(3, "/3")));
  ASSERT_TRUE(server.wait_for_requests(3));
  EXPECT_TRUE(server_.nobody_comes());
  for (const std::size_t i : {2U, 0U, 1U}) {
    const ExchangeId id = server.requests[i].id;
    server.http().respond(id, ok());
    server.http().body(id, net::http::as_bytes("answer " + std::to_string(i)));
    server.http().end(id, {{"grpc-status", std::to_string(i)}});
    const TestAnswer answer = hear_answer(rig_);
    EXPECT_EQ(answer.connection, i + 1);
    EXPECT_EQ(answer.body, "answer " + std::to_string(i));
    ASSERT_NE(answer.trailers.find("grpc-status"), nullptr);
    EXPECT_EQ(answer.trailers.find("grpc-status")->values.front(), std::to_string(i));
  }
}

TEST_F(Http2DeliveryTest, BothWaysAtOnce) {
  TestRequest request = call(7, "/stream");
  request.is_last = false;
  rig_.say(start_v2(request));
  Http2Server server(server_.accept());
  ASSERT_TRUE(server.wait_for_requests(1));
  const ExchangeId id = server.requests[0].id;
  server.http().respond(id, ok());
  for (int i = 0; i < 3; ++i) {
    const std::string word = "word " + std::to_string(i);
    rig_.say(more(7, word, false));
    ASSERT_TRUE(server.wait([&] { return server.find(id).body.ends_with(word); }));
    server.http().body(id, net::http::as_bytes("echo " + word));
    std::string heard;
    while (!heard.ends_with(word)) {
      auto message = rig_.hear();
      ASSERT_TRUE(message && message->is<"HttpResponseChunked">());
      auto& chunked = message->get<"HttpResponseChunked">();
      auto* body = chunked.get_if<"Body">();
      for (auto& frame :
           body != nullptr ? body->frames : chunked.get<"Start">().internal_response.body) {
        heard += net::http::as_text(frame.get<"Data">().span());
      }
    }
    EXPECT_EQ(heard, "echo " + word);
  }
  rig_.say(more(7, "", true));
  ASSERT_TRUE(server.wait([&] { return server.find(id).has_ended; }));
  server.http().end(id);
  EXPECT_TRUE(hear_answer(rig_).is_there);
}

TEST_F(Http2DeliveryTest, LargeBodiesWaitForTheServersWindow) {
  const std::string up(7 << 20, 'u');
  TestRequest request = call(7, "/upload");
  request.is_last = false;
  rig_.say(start_v2(request));
  for (std::size_t at = 0; at < up.size(); at += 1 << 20) {
    rig_.say(more(7, std::string_view(up).substr(at, 1 << 20), at + (1 << 20) == up.size()));
  }
  Http2Server server(server_.accept());
  ASSERT_TRUE(
      server.wait([&] { return !server.requests.empty() && server.requests[0].has_ended; }));
  EXPECT_TRUE(server.requests[0].body == up);
}

TEST_F(Http2DeliveryTest, AbortsReachBothSides) {
  rig_.say(start_v2(call(1, "/given-up")));
  Http2Server server(server_.accept());
  ASSERT_TRUE(server.wait_for_requests(1));
  rig_.say(close(1));
  ASSERT_TRUE(server.wait([&] { return server.cancelled == 1; }));
  rig_.say(start_v2(call(2, "/reset")));
  ASSERT_TRUE(server.wait_for_requests(2)) << "the connection goes on";
  server.http().abort(server.requests[1].id);
  const TestAnswer answer = hear_answer(rig_);
  EXPECT_EQ(answer.status, 502);
  EXPECT_EQ(answer.connection, 2U);
}

TEST_F(Http2DeliveryTest, AServerThatLeavesIsNotAskedAgain) {
  rig_.say(start_v2(call(1, "/1")));
  Http2Server server(server_.accept());
  ASSERT_TRUE(server.wait_for_requests(1));
  server.http().respond(server.requests[0].id, ok(), {{}, true});
  EXPECT_TRUE(hear_answer(rig_).is_there);
  server.http().shut_down();
  server.end().close();
  rig_.say(start_v2(call(2, "/2")));
  Http2Server next(server_.accept());
  ASSERT_TRUE(next.wait_for_requests(1));
  next.http().respond(next.requests[0].id, ok(), {{}, true});
  EXPECT_EQ(hear_answer(rig_).status, 200);
}

TEST_F(Http2DeliveryTest, AServerOfHttp1IsABadGateway) {
  rig_.say(start_v2(call(7, "/")));
  ServerEnd end = server_.accept();
  end.read_until("SM\r\n");
  end.write("HTTP/1.0 505 HTTP Version Not Supported\r\nConnection: close\r\n\r\n");
  end.finish_writing();
  const TestAnswer answer = hear_answer(rig_);
  EXPECT_EQ(answer.status, 502);
  EXPECT_NE(answer.body.find("HTTP/2"), std::string::npos) << answer.body;
}

}  // namespace
}  // namespace mirrord::intproxy::test
