// tests/agent/traffic/dns_test.cpp — look-ups over the wire: order, kinds of answers, the target's files.
#include <fstream>

#include "tests/agent/traffic/fixture.h"
#include "tests/support/dns_server.h"

namespace mirrord::test {
namespace {

class DnsTest : public TrafficTest {
 protected:
  void write_file(const char* name, const std::string& text) {
    std::ofstream(root_ + "/etc/" + name) << text;
  }
  void ask(const std::string& name, proto::AddressFamily family) {
    client_->send(ClientMessage::make<"GetAddrInfoRequestV2">(
        name, proto::u16{80}, std::move(family), proto::SockType::make<"Any">(), 0, 0));
  }
  // The next answer: addresses, or "error" and its kind.
  std::string answer() {
    const auto message = client_->receive();
    if (!message || !message->is<"GetAddrInfoResponse">())
      return "<nothing>";
    const auto& response = message->get<"GetAddrInfoResponse">();
    if (!response) {
      const auto& kind = response.error().get<"DnsLookup">().kind;
      std::string text = "error " + std::string(kind.name());
      if (const auto* code = kind.get_if<"NoRecordsFound">())
        text += " " + std::to_string(*code);
      return text;
    }
    std::string text;
    for (const proto::LookupRecord& record : *response)
      text += (text.empty() ? "" : " ") + record.name + "=" + record.ip.to_string();
    return text;
  }
};

DnsReply address_of_name(const DnsQuestion& question) {
  DnsReply reply;
  if (question.name.starts_with("none"))
    reply.code = 3;
  else
    reply.addresses = {net::IpAddress::v4(10, 0, 0, 1), *net::IpAddress::parse("fd00::1")};
  reply.delay_ms = question.name.starts_with("slow") ? 150 : 0;
  return reply;
}

TEST_F(DnsTest, AnswersFromTheTargetsFiles) {
  DnsServer server(address_of_name);
  write_file("resolv.conf", "nameserver " + server.resolv_conf_server() + "\nsearch ns.example\n");
  write_file("hosts", "10.9.9.9 db\n");
  using Family = proto::AddressFamily;
  ask("db", Family::make<"Both">());
  EXPECT_EQ(answer(), "db=10.9.9.9");
  ask("web", Family::make<"Both">());
  EXPECT_EQ(answer(), "web.ns.example=10.0.0.1 web.ns.example=fd00::1");
  ask("web", Family::make<"Ipv6Only">());
  EXPECT_EQ(answer(), "web.ns.example=fd00::1");
  ask("web", Family::make<"Any">());
  EXPECT_EQ(answer(), "web.ns.example=10.0.0.1");
  ask("none", Family::make<"Ipv4Only">());
  EXPECT_EQ(answer(), "error NoRecordsFound 3");
  ask("localhost", Family::make<"UnknownAddressFamilyFromNewerClient">());
  EXPECT_EQ(answer(), "localhost=127.0.0.1 localhost=::1");
}

TEST_F(DnsTest, TheOldRequestMeansIpv4) {
  DnsServer server(address_of_name);
  write_file("resolv.conf", "nameserver " + server.resolv_conf_server() + "\n");
  client_->send(ClientMessage::make<"GetAddrInfoRequest">("web.example"));
  EXPECT_EQ(answer(), "web.example=10.0.0.1");
}

TEST_F(DnsTest, AnswersKeepTheOrderOfRequests) {
  DnsServer server(address_of_name);
  write_file("resolv.conf", "nameserver " + server.resolv_conf_server() + "\n");
  const auto v4 = [] { return proto::AddressFamily::make<"Ipv4Only">(); };
  ask("slow.example", v4());
  ask("localhost", v4());
  ask("none.example", v4());
  ask("1.2.3.4", v4());
  EXPECT_TRUE(ping());  // answered while the look-up is under way
  EXPECT_EQ(answer(), "slow.example=10.0.0.1");
  EXPECT_EQ(answer(), "localhost=127.0.0.1");
  EXPECT_EQ(answer(), "error NoRecordsFound 3");
  EXPECT_EQ(answer(), "1.2.3.4=1.2.3.4");
}

TEST_F(DnsTest, ThousandsOfRequestsAreAllAnswered) {
  constexpr int kCount = 6000;  // more than wait without holding the client
  std::thread sender([&] {
    for (int i = 0; i < kCount; ++i)
      ask("host" + std::to_string(i) + ".localhost", proto::AddressFamily::make<"Ipv4Only">());
  });
  int good = 0;
  for (int i = 0; i < kCount; ++i)
    good += answer() == "host" + std::to_string(i) + ".localhost=127.0.0.1" ? 1 : 0;
  sender.join();
  EXPECT_EQ(good, kCount);
}

TEST_F(DnsTest, ReverseLookUpsAreAnswered) {
  write_file("hosts", "10.9.9.9 db.example\n");
  client_->send(ClientMessage::make<"ReverseDnsLookup">(proto::Ip::v4(10, 9, 9, 9)));
  const auto message = client_->receive();
  ASSERT_TRUE(message && message->is<"ReverseDnsLookup">());
  EXPECT_EQ(message->get<"ReverseDnsLookup">()->hostname, "db.example");
}

}  // namespace
}  // namespace mirrord::test
