// tests/unit/exec/port_forward_test.cpp — the words of -L and -R, the figures of `diagnose latency`, the
// rights that `doctor` asks for.
#include <gtest/gtest.h>

#include <algorithm>

#include "applets/config/target.h"
#include "applets/doctor.h"
#include "applets/latency.h"
#include "applets/port_mapping.h"

namespace mirrord {
namespace {

TEST(PortMapping, TwoPartsUseTheSamePortHere) {
  const auto mapping = parse_port_mapping("postgres:5432");
  ASSERT_TRUE(mapping);
  EXPECT_EQ(mapping->local_port, 5432);
  EXPECT_EQ(mapping->host, "postgres");
  EXPECT_EQ(mapping->remote_port, 5432);
}

TEST(PortMapping, ThreePartsBeginWithTheLocalPort) {
  const auto mapping = parse_port_mapping("15432:10.0.0.1:5432");
  ASSERT_TRUE(mapping);
  EXPECT_EQ(mapping->local_port, 15432);
  EXPECT_EQ(mapping->host, "10.0.0.1");
  EXPECT_EQ(mapping->remote_port, 5432);
}

TEST(PortMapping, Ipv6StandsInBrackets) {
  const auto mapping = parse_port_mapping("8080:[fd00::1]:80");
  ASSERT_TRUE(mapping);
  EXPECT_EQ(mapping->host, "fd00::1");
  EXPECT_FALSE(parse_port_mapping("8080:fd00::1:80"));
  EXPECT_FALSE(parse_port_mapping("8080:[shop]:80"));
}

TEST(PortMapping, WrongTextsAreRefusedWithTheirReason) {
  for (const char* text :
       {"", "80", ":80", "shop:", "shop:0", "0:shop:80", "x:shop:80", "shop:65536", "shop:-1",
        "shop:80x", "1:2:3:4", "8080::80", "8080:a b:80", "[:80", "]:80"}) {
    const auto mapping = parse_port_mapping(text);
    ASSERT_FALSE(mapping) << text;
    EXPECT_EQ(mapping.error().code, ErrorCode::kUsage);
    EXPECT_FALSE(mapping.error().hint.empty());
  }
}

TEST(PortMapping, ReverseMappingsAreOneOrTwoPorts) {
  const auto same = parse_reverse_mapping("80");
  ASSERT_TRUE(same);
  EXPECT_EQ(same->remote_port, 80);
  EXPECT_EQ(same->local_port, 80);
  const auto two = parse_reverse_mapping("80:8080");
  ASSERT_TRUE(two);
  EXPECT_EQ(two->remote_port, 80);
  EXPECT_EQ(two->local_port, 8080);
  for (const char* text : {"80:8080:1", "shop:80", "80:", ":80", "0", "65536", ""}) {
    EXPECT_FALSE(parse_reverse_mapping(text)) << text;
  }
}

TEST(Latency, PercentilesAreValuesThatWereMeasured) {
  std::vector<double> times;
  for (int i = 100; i > 0; --i) {
    times.push_back(i);
  }
  EXPECT_EQ(latency_text(times),
            "Latency statistics: min=1.000ms, max=100.000ms, avg=50.500ms, p50=50.000ms, "
            "p99=99.000ms");
  EXPECT_EQ(latency_text({0.25}),
            "Latency statistics: min=0.250ms, max=0.250ms, avg=0.250ms, p50=0.250ms, p99=0.250ms");
}

bool needs(const std::vector<Permission>& permissions, std::string_view verb,
           std::string_view resource, std::string_view subresource = {}) {
  return std::ranges::any_of(permissions, [&](const Permission& permission) {
    return permission.is_required && permission.verb == verb && permission.resource == resource &&
           permission.subresource == subresource;
  });
}

TEST(Permissions, FollowTheTargetAndTheKindOfAgent) {
  config::ResolvedConfig config;
  EXPECT_TRUE(needs(permissions_needed(config), "create", "jobs"));
  config.target.kind = config::TargetKind::kKubernetes;
  config.target.path = *k8s::parse_target_path("deployment/web");
  const auto as_job = permissions_needed(config);
  EXPECT_TRUE(needs(as_job, "get", "deployments"));
  EXPECT_TRUE(needs(as_job, "create", "jobs"));
  EXPECT_TRUE(needs(as_job, "get", "pods", "portforward"));
  EXPECT_FALSE(needs(as_job, "patch", "pods", "ephemeralcontainers"));
  config.agent_pod.ephemeral = true;
  const auto as_ephemeral = permissions_needed(config);
  EXPECT_TRUE(needs(as_ephemeral, "patch", "pods", "ephemeralcontainers"));
  EXPECT_FALSE(needs(as_ephemeral, "create", "jobs"));
  config.agent_pod.ephemeral = false;
  config.agent_pod.bare_pod = true;
  EXPECT_TRUE(needs(permissions_needed(config), "create", "pods"));
}

}  // namespace
}  // namespace mirrord
