// tests/unit/intproxy/dns_packet_test.cpp — queries as bytes, and which packets answer them.
#include "applets/intproxy/dns_packet.h"

#include <gtest/gtest.h>

#include <string>

namespace mirrord::intproxy {
namespace {

constexpr std::uint16_t kMx = 15;

std::string answer_to(std::string query, unsigned char flags = 0x80, unsigned char code = 0) {
  query[2] = static_cast<char>(flags);
  query[3] = static_cast<char>(code);
  return query;
}

TEST(DnsPacket, AQueryIsWhatRfc1035Says) {
  const std::string expected(
      "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
      "\x01"
      "a\x03net\x00\x00\x0f\x00\x01",
      12 + 7 + 4);
  EXPECT_EQ(make_dns_query(0x1234, "a.net", 1, kMx), expected);
  EXPECT_EQ(make_dns_query(0x1234, "a.net.", 1, kMx), expected);
}

TEST(DnsPacket, TheRootHasNoLabel) {
  EXPECT_EQ(make_dns_query(1, ".", 1, 2).size(), kDnsHeaderSize + 5);
  EXPECT_EQ(make_dns_query(1, "", 1, 2), make_dns_query(1, ".", 1, 2));
}

TEST(DnsPacket, AnAnswerHasTheIdAndTheQuestion) {
  const std::string query = make_dns_query(0x1234, "Name.Example", 1, kMx);
  EXPECT_TRUE(is_dns_answer(answer_to(query), query));
  EXPECT_TRUE(is_dns_answer(answer_to(make_dns_query(0x1234, "nAME.example", 1, kMx)), query));
  EXPECT_FALSE(is_dns_answer(query, query)) << "that is the query";
  EXPECT_FALSE(is_dns_answer(answer_to(make_dns_query(0x1235, "name.example", 1, kMx)), query));
  EXPECT_FALSE(is_dns_answer(answer_to(make_dns_query(0x1234, "name.exampl", 1, kMx)), query));
  EXPECT_FALSE(is_dns_answer(answer_to(make_dns_query(0x1234, "name.example", 1, 16)), query));
}

TEST(DnsPacket, NoPrefixOfAnAnswerIsReadBeyondItsEnd) {
  const std::string query = make_dns_query(7, "name.example", 1, kMx);
  const std::string answer = answer_to(query);
  for (std::size_t size = 0; size < answer.size(); ++size) {
    const std::string part = answer.substr(0, size);  // its own block, for the sanitizer
    // A question that is cut is none: the id decides.
    EXPECT_EQ(is_dns_answer(part, query), size >= kDnsHeaderSize) << size;
  }
  std::string wild = answer;
  wild[kDnsHeaderSize] = '\xFF';
  EXPECT_TRUE(is_dns_answer(wild, query)) << "a label that leads out of the packet";
}

TEST(DnsPacket, TheHeadersFields) {
  const std::string query = make_dns_query(7, "name.example", 1, kMx);
  EXPECT_TRUE(is_dns_truncated(answer_to(query, 0x82)));
  EXPECT_FALSE(is_dns_truncated(answer_to(query)));
  EXPECT_EQ(dns_code(answer_to(query, 0x80, 0x83)), DnsCode::kNameError);
  std::string answer = answer_to(query);
  answer[6] = 1;
  answer[7] = 2;
  EXPECT_EQ(dns_answer_count(answer), 258);
}

}  // namespace
}  // namespace mirrord::intproxy
