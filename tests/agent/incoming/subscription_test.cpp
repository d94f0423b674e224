// tests/agent/incoming/subscription_test.cpp — who has a port, who loses it, and what they are told.
#include "tests/agent/incoming/fixture.h"

namespace mirrord::test {
namespace {

TEST(IncomingSubscription, RedirectsAPortWhileSomebodyWantsIt) {
  IncomingAgent agent;
  const Server target(SOCK_STREAM);
  const std::uint16_t port = target.endpoint().port;
  auto first = agent.connect();
  auto second = agent.connect();
  steal(*first, port);
  EXPECT_EQ(next_text(*first, From::kSteal), "subscribed " + std::to_string(port));
  EXPECT_TRUE(agent.is_redirected(port));
  mirror(*second, port);
  EXPECT_EQ(next_text(*second, From::kMirror), "subscribed " + std::to_string(port));
  unsteal(*first, port);
  ASSERT_TRUE(first->send(ClientMessage::make<"Ping">()));
  EXPECT_TRUE(agent.is_redirected(port));
  second.reset();
  EXPECT_TRUE(agent.becomes(port, false));
  EXPECT_EQ(agent.changes(), 2);
}

TEST(IncomingSubscription, AnswersInTheOrderOfTheRequests) {
  IncomingAgent agent;
  auto client = agent.connect();
  for (const std::uint16_t port : std::initializer_list<std::uint16_t>{7003, 7001, 7002, 7001})
    steal(*client, port);
  EXPECT_EQ(next_text(*client, From::kSteal), "subscribed 7003");
  EXPECT_EQ(next_text(*client, From::kSteal), "subscribed 7001");
  EXPECT_EQ(next_text(*client, From::kSteal), "subscribed 7002");
  EXPECT_EQ(next_text(*client, From::kSteal), "subscribed 7001");
}

TEST(IncomingSubscription, APortThatCannotBeRedirectedIsRefusedWithTheReason) {
  IncomingAgent agent;
  auto client = agent.connect();
  agent.refuse({ErrorCode::kUnsupported, "the kernel says no", "Use another kernel.", 0});
  steal(*client, 7001);
  const auto result = next_of(*client, From::kSteal);
  ASSERT_TRUE(result && result->is<"SubscribeResult">());
  const auto& answer = result->get<"SubscribeResult">();
  ASSERT_FALSE(answer.has_value());
  const auto& kind = answer.error().get<"RemoteIO">().kind;
  EXPECT_EQ(kind.get<"Unknown">(), "the kernel says no. Use another kernel.");
  EXPECT_NE(next_log(*client).find("the kernel says no"), std::string::npos);
}

TEST(IncomingSubscription, ANewerStealDisplacesAnOlderOneWhichIsTold) {
  IncomingAgent agent;
  const Server target(SOCK_STREAM);
  const std::uint16_t port = target.endpoint().port;
  auto first = agent.connect();
  auto second = agent.connect();
  steal(*first, port);
  EXPECT_TRUE(next_text(*first, From::kSteal).starts_with("subscribed"));
  const Fd old = agent.arrive(target);
  send_all(old.get(), "\x01one");
  EXPECT_EQ(next_text(*first, From::kSteal), "new2 0");
  EXPECT_EQ(next_text(*first, From::kSteal), "data 0 \x01one");

  steal(*second, port);
  EXPECT_TRUE(next_text(*second, From::kSteal).starts_with("subscribed"));
  EXPECT_NE(next_log(*first).find("no longer stolen"), std::string::npos);
  const Fd fresh = agent.arrive(target);
  send_all(fresh.get(), "\x01two");
  EXPECT_EQ(next_text(*second, From::kSteal), "new2 0");
  EXPECT_EQ(next_text(*second, From::kSteal), "data 0 \x01two");
  // What the first one has already goes on.
  answer(*first, 0, "still here");
  EXPECT_EQ(receive_all(old.get(), 10), "still here");
}

TEST(IncomingSubscription, AWholePortThatTheKubeletProbesIsWarnedOf) {
  IncomingAgent agent({.probe_ports = {7001}});
  auto client = agent.connect();
  steal_by_header(*client, 7001, "x-user: me");
  steal(*client, 7002);
  EXPECT_EQ(next_text(*client, From::kSteal), "subscribed 7001");
  EXPECT_EQ(next_text(*client, From::kSteal), "subscribed 7002");
  steal(*client, 7001);
  EXPECT_TRUE(next_log(*client).starts_with("the kubelet's probes of port 7001 "));
}

TEST(IncomingSubscription, ConcurrentStealsCanBeRefused) {
  IncomingAgent agent({.on_concurrent_steal = agent::OnConcurrentSteal::kRefuse});
  auto first = agent.connect();
  auto second = agent.connect();
  steal(*first, 7001);
  EXPECT_EQ(next_text(*first, From::kSteal), "subscribed 7001");
  steal(*second, 7001);
  const auto result = next_of(*second, From::kSteal);
  ASSERT_TRUE(result && result->is<"SubscribeResult">());
  ASSERT_FALSE(result->get<"SubscribeResult">().has_value());
  EXPECT_EQ(result->get<"SubscribeResult">().error().get<"PortAlreadyStolen">(), 7001);
  mirror(*second, 7001);
  EXPECT_EQ(next_text(*second, From::kMirror), "subscribed 7001");
  first.reset();  // a steal that has gone is in nobody's way
  for (std::string text; text != "subscribed 7001";) {
    steal(*second, 7001);
    text = next_text(*second, From::kSteal);
    ASSERT_NE(text, "<nothing>");
  }
}

}  // namespace
}  // namespace mirrord::test
