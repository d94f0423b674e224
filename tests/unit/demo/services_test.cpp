// tests/unit/demo/services_test.cpp — what the demo's name server, HTTP and echo services answer.
#include <ares.h>
#include <ares_dns_record.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>

#include "applets/demo/pod.h"

namespace mirrord::demo {
namespace {

struct RecordFree {
  void operator()(ares_dns_record_t* record) const { ares_dns_record_destroy(record); }
};
using Record = std::unique_ptr<ares_dns_record_t, RecordFree>;

std::string query(const char* name, ares_dns_rec_type_t type) {
  ares_dns_record_t* record = nullptr;
  EXPECT_EQ(
      ares_dns_record_create(&record, 4711, ARES_FLAG_RD, ARES_OPCODE_QUERY, ARES_RCODE_NOERROR),
      ARES_SUCCESS);
  const Record owner(record);
  EXPECT_EQ(ares_dns_record_query_add(record, name, type, ARES_CLASS_IN), ARES_SUCCESS);
  unsigned char* bytes = nullptr;
  std::size_t size = 0;
  EXPECT_EQ(ares_dns_write(record, &bytes, &size), ARES_SUCCESS);
  std::string text(reinterpret_cast<const char*>(bytes), size);
  ares_free_string(bytes);
  return text;
}

Record ask(const char* name, ares_dns_rec_type_t type) {
  const std::string request = query(name, type);
  const std::string answer = answer_query(std::as_bytes(std::span(request)), false);
  ares_dns_record_t* record = nullptr;
  EXPECT_EQ(ares_dns_parse(reinterpret_cast<const unsigned char*>(answer.data()), answer.size(), 0,
                           &record),
            ARES_SUCCESS);
  return Record(record);
}

std::size_t answers(const Record& record) {
  return ares_dns_record_rr_cnt(record.get(), ARES_SECTION_ANSWER);
}

TEST(DemoDns, KnowsBothFamiliesAndIgnoresCase) {
  const Record v4 = ask("Shop.Demo.svc.cluster.local", ARES_REC_TYPE_A);
  EXPECT_EQ(ares_dns_record_get_id(v4.get()), 4711);
  ASSERT_EQ(answers(v4), 1U);
  const ares_dns_rr_t* rr = ares_dns_record_rr_get_const(v4.get(), ARES_SECTION_ANSWER, 0);
  EXPECT_EQ(ares_dns_rr_get_addr(rr, ARES_RR_A_ADDR)->s_addr, htonl(0x0A600C22));
  EXPECT_EQ(answers(ask("shop.demo.svc.cluster.local", ARES_REC_TYPE_AAAA)), 1U);
  EXPECT_EQ(answers(ask("headless.demo.svc.cluster.local", ARES_REC_TYPE_A)), 3U);
}

TEST(DemoDns, ANameWithoutThatTypeIsNotAnError) {
  const Record record = ask("six.demo.svc.cluster.local", ARES_REC_TYPE_A);
  EXPECT_EQ(answers(record), 0U);
  EXPECT_EQ(ares_dns_record_get_rcode(record.get()), ARES_RCODE_NOERROR);
}

TEST(DemoDns, UnknownNamesDoNotExist) {
  EXPECT_EQ(ares_dns_record_get_rcode(ask("shop", ARES_REC_TYPE_A).get()), ARES_RCODE_NXDOMAIN);
  EXPECT_EQ(ares_dns_record_get_rcode(ask("1.0.0.127.in-addr.arpa", ARES_REC_TYPE_PTR).get()),
            ARES_RCODE_NXDOMAIN);
}

TEST(DemoDns, AliasesAndAddressesLeadToNames) {
  EXPECT_EQ(answers(ask("www.partner.example", ARES_REC_TYPE_A)), 2U);
  const Record record = ask("35.12.96.10.in-addr.arpa", ARES_REC_TYPE_PTR);
  ASSERT_EQ(answers(record), 1U);
  const ares_dns_rr_t* rr = ares_dns_record_rr_get_const(record.get(), ARES_SECTION_ANSWER, 0);
  EXPECT_STREQ(ares_dns_rr_get_str(rr, ARES_RR_PTR_DNAME), "echo.demo.svc.cluster.local");
}

TEST(DemoDns, DamagedQueriesGetNoAnswerOrAValidOne) {
  std::mt19937 random(1);
  const std::string good = query("shop.demo.svc.cluster.local", ARES_REC_TYPE_A);
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = good.substr(0, 1 + random() % good.size());
    bytes[random() % bytes.size()] = static_cast<char>(random());
    const std::string answer = answer_query(std::as_bytes(std::span(bytes)), false);
    EXPECT_LE(answer.size(), 512U);
    EXPECT_TRUE(answer.empty() || answer.substr(0, 2) == bytes.substr(0, 2));
  }
}

TEST(DemoDns, TcpQueriesCarryTheirLength) {
  std::string input;
  const std::string one = query("echo.demo.svc.cluster.local", ARES_REC_TYPE_A);
  for (int i = 0; i < 2; ++i)
    input += std::string{'\0', static_cast<char>(one.size())} + one;
  std::string rest = input.substr(input.size() - 3);
  input.resize(input.size() - 3);
  const Reply first = serve_dns(input, "");
  EXPECT_FALSE(first.is_last);
  input += rest;
  const Reply second = serve_dns(input, "");
  EXPECT_TRUE(input.empty());
  EXPECT_EQ(first.bytes, second.bytes);
  EXPECT_EQ(static_cast<unsigned char>(first.bytes[1]), first.bytes.size() - 2);
}

Reply http(std::string request) {
  return serve_http(request, "192.0.2.1");
}

TEST(DemoHttp, GreetsWithTheClientsAddress) {
  const Reply reply = http("GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
  EXPECT_TRUE(reply.bytes.starts_with("HTTP/1.1 200 OK\r\n"));
  EXPECT_TRUE(reply.bytes.ends_with(
      R"({"pod": "shop-7d4b9c6f5-x2k8p", "client": "192.0.2.1", "host": "shop"})"
      "\n"));
  EXPECT_FALSE(reply.is_last);
}

TEST(DemoHttp, WaitsForAWholeRequestAndAnswersSeveral) {
  std::string input = "POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\nhel";
  EXPECT_EQ(serve_http(input, "").bytes, "");
  input += "loGET /healthz HTTP/1.1\r\n\r\nGET /nothing HTTP/1.1\r\nConnection: close\r\n\r\n";
  const Reply reply = serve_http(input, "");
  EXPECT_NE(reply.bytes.find("\r\n\r\nhello"), std::string::npos);
  EXPECT_NE(reply.bytes.find("\r\n\r\nok\n"), std::string::npos);
  EXPECT_NE(reply.bytes.find("404 Not Found"), std::string::npos);
  EXPECT_TRUE(reply.is_last);
  EXPECT_TRUE(input.empty());
}

TEST(DemoHttp, SendsAsManyBytesAsAsked) {
  EXPECT_TRUE(http("GET /bytes/53 HTTP/1.0\r\n\r\n").bytes.ends_with("yza"));
  EXPECT_TRUE(http("HEAD /bytes/100000 HTTP/1.0\r\n\r\n").bytes.ends_with("close\r\n\r\n"));
  EXPECT_NE(http("GET /bytes/x HTTP/1.0\r\n\r\n").bytes.find("Content-Length: 0"),
            std::string::npos);
}

TEST(DemoHttp, RefusesWhatIsNoRequest) {
  const Reply reply = http("hello\r\n\r\n");
  EXPECT_TRUE(reply.bytes.starts_with("HTTP/1.1 400"));
  EXPECT_TRUE(reply.is_last);
}

TEST(DemoEcho, SendsEverythingBack) {
  std::string input = "anything";
  EXPECT_EQ(serve_echo(input, "").bytes, "anything");
  EXPECT_TRUE(input.empty());
}

}  // namespace
}  // namespace mirrord::demo
