// tests/unit/intproxy/http_delivery_test.cpp — requests of agents reach a program's server, and its answers the
// agent: forms, connections, failures, upgrades, back-pressure.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <random>
#include <string>
#include <thread>

#include "tests/unit/intproxy/delivery_rig.h"
#include "tests/unit/intproxy/fake_hook.h"

namespace mirrord::intproxy::test {
namespace {

constexpr std::string_view kHeadEnd = "\r\n\r\n";
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

std::string random_bytes(std::size_t size) {
  std::mt19937_64 random(size);
  std::string bytes(size, '\0');
  for (char& byte : bytes) {
    byte = static_cast<char>(random());
  }
  return bytes;
}

class HttpDeliveryTest : public testing::Test {
 protected:
  void SetUp() override { rig_.listen(server_.port()); }
  TestServer server_;
  DeliveryRig rig_;
};

// ---- plain requests

TEST_F(HttpDeliveryTest, ASmallAnswerIsOneMessage) {
  rig_.say(start_v2({.uri = "/a?b=c", .headers = {{"host", "shop"}, {"x-one", "1"}}}));
  ServerEnd end = server_.accept();
  EXPECT_EQ(end.read_until(kHeadEnd), "GET /a?b=c HTTP/1.1\r\nhost: shop\r\nx-one: 1\r\n\r\n");
  end.write("HTTP/1.1 404 Gone Fishing\r\nContent-Length: 3\r\nX-Two: a\r\nX-Two: b\r\n\r\nyes");
  const TestAnswer answer = hear_answer(rig_);
  EXPECT_EQ(answer.form, "framed");
  EXPECT_EQ(answer.status, 404);
  EXPECT_EQ(answer.body, "yes");
  EXPECT_EQ(answer.connection, 7U);
  ASSERT_NE(answer.headers.find("x-two"), nullptr);
  EXPECT_EQ(answer.headers.find("x-two")->values, (std::vector<std::string>{"a", "b"}));
}

TEST_F(HttpDeliveryTest, ConnectionsAreUsedAgain) {
  rig_.say(start_v2({.connection = 1}));
  ServerEnd end = server_.accept();
  for (proto::ConnectionId id = 1; id <= 3; ++id) {
    EXPECT_EQ(end.read_until(kHeadEnd), "GET / HTTP/1.1\r\nhost: shop\r\n\r\n");
    end.write(kOk);
    const TestAnswer answer = hear_answer(rig_);
    EXPECT_EQ(answer.body, "ok");
    EXPECT_EQ(answer.connection, id);
    rig_.say(close(id));
    rig_.say(start_v2({.connection = id + 1}));
  }
  EXPECT_TRUE(server_.nobody_comes());
}

TEST_F(HttpDeliveryTest, RequestsAtTheSameTimeHaveConnectionsOfTheirOwn) {
  rig_.say(start_v2({.connection = 1, .uri = "/1"}));
  ServerEnd first = server_.accept();
  EXPECT_TRUE(first.read_until(kHeadEnd).starts_with("GET /1 "));
  rig_.say(start_v2({.connection = 2, .uri = "/2"}));
  ServerEnd second = server_.accept();
  EXPECT_TRUE(second.read_until(kHeadEnd).starts_with("GET /2 "));
  second.write(kOk);
  EXPECT_EQ(hear_answer(rig_).connection, 2U);
  first.write(kOk);
  EXPECT_EQ(hear_answer(rig_).connection, 1U);
}

TEST_F(HttpDeliveryTest, OneClientsConnectionIsNotUsedForAnotherAddress) {
  const net::Endpoint one{net::IpAddress::v4(10, 0, 0, 1), 1111};
  const net::Endpoint other{net::IpAddress::v4(10, 0, 0, 2), 2222};
  rig_.say(start_v2({.connection = 1, .remote = one}));
  ServerEnd first = server_.accept();
  first.read_until(kHeadEnd);
  first.write(kOk);
  EXPECT_TRUE(hear_answer(rig_).is_there);
  rig_.say(start_v2({.connection = 2, .remote = other}));
  ServerEnd second = server_.accept();
  second.read_until(kHeadEnd);
  second.write(kOk);
  EXPECT_TRUE(hear_answer(rig_).is_there);
  EXPECT_EQ(rig_.peers(), (std::vector<net::Endpoint>{one, other}));
}

TEST_F(HttpDeliveryTest, IdleConnectionsEnd) {
  rig_.say(start_v2({}));
  ServerEnd end = server_.accept();
  end.read_until(kHeadEnd);
  end.write(kOk);
  EXPECT_TRUE(hear_answer(rig_).is_there);
  EXPECT_EQ(rig_.closed_sockets(), 0);
  EXPECT_TRUE(end.has_ended()) << "after three seconds";
  EXPECT_TRUE(eventually([&] { return rig_.closed_sockets() == 1; }));
}

TEST_F(HttpDeliveryTest, AConnectionThatTheServerHasClosedIsNotUsed) {
  rig_.say(start_v2({.connection = 1}));
  ServerEnd first = server_.accept();
  first.read_until(kHeadEnd);
  first.write(kOk);
  EXPECT_TRUE(hear_answer(rig_).is_there);
  first.close();
  rig_.say(start_v2({.connection = 2, .method = "POST", .body = "x"}));
  ServerEnd second = server_.accept();
  EXPECT_TRUE(second.read_until(kHeadEnd).starts_with("POST "));
  second.write(kOk);
  EXPECT_EQ(hear_answer(rig_).status, 200);
}

TEST_F(HttpDeliveryTest, ARequestThatAUsedConnectionLostIsRepeatedOnce) {
  rig_.say(start_v2({.connection = 1}));
  ServerEnd first = server_.accept();
  first.read_until(kHeadEnd);
  first.write(kOk);
  EXPECT_TRUE(hear_answer(rig_).is_there);
  rig_.say(start_v2({.connection = 2, .method = "PUT", .uri = "/again", .body = "payload"}));
  EXPECT_TRUE(first.read_until("payload").starts_with("PUT /again "));
  first.close();
  ServerEnd second = server_.accept();
  const std::string again = second.read_until("payload");
  EXPECT_TRUE(again.starts_with("PUT /again ")) << again;
  EXPECT_TRUE(again.ends_with("\r\n\r\npayload")) << again;
  second.close();
  const TestAnswer answer = hear_answer(rig_);
  EXPECT_EQ(answer.status, 502);
  EXPECT_TRUE(server_.nobody_comes()) << "not a third time";
}

TEST_F(HttpDeliveryTest, APostThatWasReadIsNotRepeated) {
  rig_.say(start_v2({.connection = 1}));
  ServerEnd first = server_.accept();
  first.read_until(kHeadEnd);
  first.write(kOk);
  EXPECT_TRUE(hear_answer(rig_).is_there);
  rig_.say(start_v2({.connection = 2, .method = "POST", .body = "buy"}));
  first.read_until("buy");
  first.close();
  EXPECT_EQ(hear_answer(rig_).status, 502);
  EXPECT_TRUE(server_.nobody_comes());
}

// ---- bodies

TEST_F(HttpDeliveryTest, BodiesComeAndGoInPieces) {
  rig_.say(start_v2({.method = "POST",
                     .headers = {{"host", "shop"}, {"transfer-encoding", "chunked"}},
                     .body = "one",
                     .is_last = false}));
  ServerEnd end = server_.accept();
  EXPECT_TRUE(end.read_until(kHeadEnd).starts_with("POST / HTTP/1.1\r\n"));
  EXPECT_EQ(end.read_until("one\r\n"), "3\r\none\r\n");
  end.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
  auto message = rig_.hear();
  ASSERT_TRUE(message && message->is<"HttpResponseChunked">());
  auto& start = message->get<"HttpResponseChunked">();
  ASSERT_TRUE(start.is<"Start">()) << "before the request has ended";
  rig_.say(more(7, "second", false));
  EXPECT_EQ(end.read_until("second\r\n"), "6\r\nsecond\r\n");
  rig_.say(more(7, "", true));
  EXPECT_EQ(end.read_until("0\r\n\r\n"), "0\r\n\r\n");
  end.write("3\r\nend\r\n0\r\nX-Sum: 42\r\n\r\n");
  const TestAnswer rest = hear_answer(rig_);
  EXPECT_TRUE(rest.is_there);
  EXPECT_EQ(rest.body, "end");
  ASSERT_NE(rest.trailers.find("x-sum"), nullptr);
  EXPECT_EQ(rest.trailers.find("x-sum")->values.front(), "42");
}

TEST_F(HttpDeliveryTest, LargeBodiesAreExactWithReadersThatPause) {
  const std::string up = random_bytes(6 << 20);
  const std::string down = random_bytes(9 << 20);
  rig_.say(start_v2({.method = "POST",
                     .headers = {{"host", "shop"}, {"content-length", std::to_string(up.size())}},
                     .is_last = false}));
  ServerEnd end = server_.accept();
  end.read_until(kHeadEnd);
  bool was_paused = false;
  for (std::size_t at = 0; at < up.size(); at += 100'000) {
    const std::string_view piece = std::string_view(up).substr(at, 100'000);
    rig_.say(more(7, piece, at + piece.size() == up.size()));
  }
  while (const auto hint = rig_.hear()) {  // the server does not read yet
    ASSERT_TRUE(hint->is<"ConnectionUnsubscribe">());
    was_paused = proto::hint_of(hint->get<"ConnectionUnsubscribe">()) == proto::Hint::kPause;
    break;
  }
  EXPECT_TRUE(was_paused);
  EXPECT_TRUE(end.read_exactly(up.size()) == up);
  const auto resumed = rig_.hear();
  ASSERT_TRUE(resumed && resumed->is<"ConnectionUnsubscribe">());
  EXPECT_EQ(proto::hint_of(resumed->get<"ConnectionUnsubscribe">()), proto::Hint::kResume);

  // Nobody reads at the agent while the server writes: it has to wait.
  std::thread writer([&] {
    end.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(down.size()) + "\r\n\r\n");
    end.write(down);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const TestAnswer answer = hear_answer(rig_);
  writer.join();
  EXPECT_EQ(answer.form, "start body");
  EXPECT_TRUE(answer.body == down);
}

TEST_F(HttpDeliveryTest, AnAgentThatPausesGetsNothingMore) {
  rig_.say(start_v2({}));
  ServerEnd end = server_.accept();
  end.read_until(kHeadEnd);
  rig_.say(close(proto::with_hint(proto::Hint::kPause, 7)));
  const std::string down = random_bytes(32 << 20);
  std::atomic<bool> is_written = false;
  std::thread writer([&] {
    end.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(down.size()) + "\r\n\r\n");
    end.write(down);
    is_written = true;
  });
  EXPECT_TRUE(rig_.hears_nothing());
  EXPECT_FALSE(is_written);
  rig_.say(close(proto::with_hint(proto::Hint::kResume, 7)));
  const TestAnswer answer = hear_answer(rig_);
  writer.join();
  EXPECT_TRUE(is_written);
  EXPECT_TRUE(answer.body == down);
}

TEST_F(HttpDeliveryTest, AnswersThatEndWithTheConnection) {
  rig_.say(start_v2({}));
  ServerEnd end = server_.accept();
  end.read_until(kHeadEnd);
  end.write("HTTP/1.0 200 OK\r\n\r\nuntil the end");
  end.close();
  const TestAnswer answer = hear_answer(rig_);
  EXPECT_TRUE(answer.is_there);
  EXPECT_EQ(answer.body, "until the end");
}

TEST_F(HttpDeliveryTest, InterimHeadsAreNotAnswers) {
  rig_.say(
      start_v2({.method = "POST",
                .headers = {{"host", "shop"}, {"expect", "100-continue"}, {"content-length", "4"}},
                .body = "body"}));
  ServerEnd end = server_.accept();
  end.read_until("body");
  end.write("HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_TRUE(rig_.hears_nothing());
  end.write(kOk);
  EXPECT_EQ(hear_answer(rig_).status, 200);
}

// ---- ends

TEST_F(HttpDeliveryTest, NobodyListens) {
  rig_.listen(0);
  rig_.say(start_v2({}));
  const TestAnswer answer = hear_answer(rig_);
  EXPECT_EQ(answer.status, 502);
  EXPECT_NE(answer.body.find("no program of this session listens for port 80"), std::string::npos)
      << answer.body;
}

TEST_F(HttpDeliveryTest, TheProgramRefuses) {
  server_.stop();
  rig_.say(start_v2({}));
  const TestAnswer answer = hear_answer(rig_);
  EXPECT_EQ(answer.status, 502);
  EXPECT_NE(answer.body.find("Connection refused"), std::string::npos) << answer.body;
}

TEST_F(HttpDeliveryTest, TheProgramIsKilledBeforeItAnswers) {
  rig_.say(start_v2({}));
  ServerEnd end = server_.accept();
  end.read_until(kHeadEnd);
  end.reset();
  const TestAnswer answer = hear_answer(rig_);
  EXPECT_EQ(answer.status, 502);
  EXPECT_NE(answer.body.find("broke"), std::string::npos) << answer.body;
}

TEST_F(HttpDeliveryTest, TheProgramIsKilledWithinItsAnswer) {
  rig_.say(start_v2({}));
  ServerEnd end = server_.accept();
  end.read_until(kHeadEnd);
  end.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
  const auto start = rig_.hear();
  ASSERT_TRUE(start && start->is<"HttpResponseChunked">());
  end.reset();
  const TestAnswer answer = hear_answer(rig_);
  EXPECT_EQ(answer.form, "error");
}

TEST_F(HttpDeliveryTest, NonsenseIsABadGateway) {
  rig_.say(start_v2({}));
  ServerEnd end = server_.accept();
  end.read_until(kHeadEnd);
  end.write("SSH-2.0-OpenSSH_9.2\r\n");
  EXPECT_EQ(hear_answer(rig_).status, 502);
}

TEST_F(HttpDeliveryTest, TheClientHasGone) {
  rig_.say(start_v2({}));
  ServerEnd end = server_.accept();
  end.read_until(kHeadEnd);
  rig_.say(close(7));
  EXPECT_TRUE(end.has_ended());
  EXPECT_TRUE(rig_.hears_nothing());
}

TEST_F(HttpDeliveryTest, TheAgentHasGone) {
  rig_.say(start_v2({.connection = 1}));
  ServerEnd idle = server_.accept();
  idle.read_until(kHeadEnd);
  idle.write(kOk);
  EXPECT_TRUE(hear_answer(rig_).is_there);
  rig_.say(start_v2({.connection = 2, .remote = {net::IpAddress::v4(10, 0, 0, 9), 1}}));
  ServerEnd busy = server_.accept();
  busy.read_until(kHeadEnd);
  rig_.hang_up();
  EXPECT_TRUE(busy.has_ended());
  EXPECT_TRUE(idle.has_ended());
}

TEST_F(HttpDeliveryTest, WhatCannotBeWrittenIsRefused) {
  rig_.say(start_v2({.connection = 1, .method = "CONNECT", .uri = "other:443"}));
  EXPECT_EQ(hear_answer(rig_).status, 502);
  rig_.say(start_v2({.connection = 2, .version = proto::HttpVersion::kHttp3}));
  EXPECT_EQ(hear_answer(rig_).status, 502);
  rig_.say(start_v2({.connection = 3,
                     .method = "POST",
                     .headers = {{"host", "shop"}, {"content-length", "2"}},
                     .is_last = false}));
  ServerEnd end = server_.accept();
  end.read_until(kHeadEnd);
  rig_.say(more(3, "more than two", false));
  EXPECT_EQ(hear_answer(rig_).status, 502);
  EXPECT_TRUE(server_.nobody_comes());
}

// ---- upgrades

TEST_F(HttpDeliveryTest, AnUpgradedConnectionCarriesBytes) {
  rig_.say(
      start_v2({.headers = {{"host", "shop"}, {"connection", "upgrade"}, {"upgrade", "echo"}}}));
  ServerEnd end = server_.accept();
  end.read_until(kHeadEnd);
  end.write("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello");
  const TestAnswer answer = hear_answer(rig_);
  EXPECT_EQ(answer.form, "framed");
  EXPECT_EQ(answer.status, 101);
  auto message = rig_.hear();
  ASSERT_TRUE(message && message->is<"Data">());
  EXPECT_EQ(net::http::as_text(message->get<"Data">().bytes.span()), "hello");
  rig_.say(data(7, "to the program"));
  EXPECT_EQ(end.read_exactly(14), "to the program");
  rig_.say(data(7, ""));
  EXPECT_TRUE(end.has_ended());
  end.write("last words");
  message = rig_.hear();
  ASSERT_TRUE(message && message->is<"Data">());
  EXPECT_EQ(net::http::as_text(message->get<"Data">().bytes.span()), "last words");
  end.close();
  message = rig_.hear();
  ASSERT_TRUE(message && message->is<"Data">());
  EXPECT_TRUE(message->get<"Data">().bytes.empty());
  EXPECT_TRUE(rig_.hears_nothing());
  EXPECT_TRUE(eventually([&] { return rig_.closed_sockets() == 1; }));
}

TEST_F(HttpDeliveryTest, AnUpgradedConnectionThatBreaks) {
  rig_.say(
      start_v2({.headers = {{"host", "shop"}, {"connection", "upgrade"}, {"upgrade", "echo"}}}));
  ServerEnd end = server_.accept();
  end.read_until(kHeadEnd);
  end.write("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
  EXPECT_EQ(hear_answer(rig_).status, 101);
  end.reset();
  const auto message = rig_.hear();
  ASSERT_TRUE(message && message->is<"ConnectionUnsubscribe">());
  EXPECT_EQ(proto::without_hint(message->get<"ConnectionUnsubscribe">()), 7U);
}

// What the agent said last arrives, although the connection is over for it.
TEST_F(HttpDeliveryTest, TheEndOfAnUpgradedConnectionArrivesWhole) {
  rig_.say(
      start_v2({.headers = {{"host", "shop"}, {"connection", "upgrade"}, {"upgrade", "echo"}}}));
  ServerEnd end = server_.accept();
  end.read_until(kHeadEnd);
  end.write("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
  EXPECT_EQ(hear_answer(rig_).status, 101);
  const std::string bytes = random_bytes(5 << 20);
  for (std::size_t at = 0; at < bytes.size(); at += 1 << 20) {
    rig_.say(data(7, std::string_view(bytes).substr(at, 1 << 20)));
  }
  rig_.say(data(7, ""));
  rig_.say(close(7));
  EXPECT_TRUE(end.read_to_end() == bytes);
}

// ---- mirrored requests

TEST_F(HttpDeliveryTest, CopiesAreAnsweredToNobody) {
  rig_.say(start_v2({.uri = "/copy"}), true);
  ServerEnd end = server_.accept();
  EXPECT_TRUE(end.read_until(kHeadEnd).starts_with("GET /copy "));
  rig_.say(close(7), true);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_TRUE(end.write(kOk));
  EXPECT_TRUE(rig_.hears_nothing());
  // The connection is good for the next one.
  rig_.say(start_v2({.connection = 8, .uri = "/next"}), true);
  EXPECT_TRUE(end.read_until(kHeadEnd).starts_with("GET /next "));
}

TEST_F(HttpDeliveryTest, StolenAndMirroredRequestsHaveIdsOfTheirOwn) {
  rig_.say(start_v2({.uri = "/copy"}), true);
  ServerEnd copy = server_.accept();
  copy.read_until(kHeadEnd);
  rig_.say(start_v2({.uri = "/stolen"}));
  ServerEnd stolen = server_.accept();
  EXPECT_TRUE(stolen.read_until(kHeadEnd).starts_with("GET /stolen "));
  rig_.say(close(7), true);
  stolen.write(kOk);
  EXPECT_EQ(hear_answer(rig_).status, 200);
}

// ---- agents of other versions

struct VersionCase {
  const char* version;
  const char* form;
};

class OldAgentTest : public testing::TestWithParam<VersionCase> {};

TEST_P(OldAgentTest, GetsWhatItKnows) {
  TestServer server;
  DeliveryRig rig(GetParam().version, false);
  rig.listen(server.port());
  rig.say(std::string_view(GetParam().version) < "1.3"
              ? flat({.method = "POST", .body = "whole"})
              : framed({.method = "POST", .body = "whole"}));
  ServerEnd end = server.accept();
  const std::string got = end.read_until("whole");
  EXPECT_NE(got.find("Content-Length: 5"), std::string::npos) << got;
  end.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  end.write("3\r\ntwo\r\n0\r\n\r\n");
  const TestAnswer answer = hear_answer(rig);
  EXPECT_EQ(answer.form, GetParam().form);
  EXPECT_EQ(answer.body, "onetwo");
  // An answer that is cut off is none.
  rig.say(framed({.connection = 8}));
  end.read_until(kHeadEnd);
  end.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  end.close();
  const TestAnswer cut = hear_answer(rig);
  EXPECT_EQ(cut.status, std::string_view(GetParam().form) == "start body" ? 200 : 502);
  EXPECT_EQ(cut.is_broken_off, std::string_view(GetParam().form) == "start body");
}

INSTANTIATE_TEST_SUITE_P(Versions, OldAgentTest,
                         testing::Values(VersionCase{"1.2.9", "flat"},
                                         VersionCase{"1.8.0", "framed"},
                                         VersionCase{"1.8.1", "start body"}),
                         [](const auto& one) {
                           std::string name = one.param.version;
                           std::erase(name, '.');
                           return "v" + name;
                         });

TEST(OldAgents, AFirstMessageWithoutAnEnd) {
  TestServer server;
  DeliveryRig rig("1.7.0", false);
  rig.listen(server.port());
  rig.say(start_v1({.uri = "/no-body", .is_last = false}));
  ServerEnd end = server.accept();
  EXPECT_EQ(end.read_until(kHeadEnd), "GET /no-body HTTP/1.1\r\nhost: shop\r\n\r\n")
      << "not in chunks, which some servers take for the next request";
  rig.say(more(7, "", true));
  end.write(kOk);
  EXPECT_EQ(hear_answer(rig).status, 200);
  EXPECT_EQ(rig.peers().front().ip, net::IpAddress::v4(127, 0, 0, 1)) << "it does not say who asks";
}

}  // namespace
}  // namespace mirrord::intproxy::test
