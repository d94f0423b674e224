// tests/unit/k8s/manifest_test.cpp — the agent's objects against golden files, and how plans differ.
#include <gtest/gtest.h>
#include <stdio.h>

#include <algorithm>

#include "k8s/agent_manifest.h"
#include "tests/unit/k8s/sample.h"

namespace mirrord::k8s {
namespace {

constexpr char kOriginal[] = "ghcr.io/metalbear-co/mirrord:3.250.0";

TargetPod sample_target() {
  TargetPod target = *target_of_pod(parsed(kPod).view(), "");
  return target;
}

AgentPlan sample_plan(std::string_view image) {
  AgentPlan plan;
  plan.settings.image = image;
  plan.target = sample_target();
  plan.name = "mirrord-agent-0123456789";
  plan.name_space = "shop";
  plan.port = 40000;
  plan.group_id = 5000;
  plan.node_host_name = "node-a.example";
  plan.takes_traffic = true;
  return plan;
}

AgentPlan everything_set(std::string_view image) {
  AgentPlan plan = sample_plan(image);
  AgentSettings& settings = plan.settings;
  settings.image_pull_policy = "Always";
  settings.image_pull_secrets = {"key-1", "key-2"};
  settings.privileged = true;
  settings.disabled_capabilities = {"SYS_PTRACE", "NET_ADMIN"};
  settings.ttl_seconds = 30;
  settings.communication_timeout_seconds = 60;
  settings.labels = {{"team", "x"}};
  settings.annotations = {{"note", "y"}};
  settings.node_selector = {{"disk", "ssd"}};
  settings.tolerations = Json::array();
  settings.resources = parsed(R"({"limits":{"cpu":"2"}})");
  settings.security_context = parsed(R"({"seccompProfile":{"type":"Unconfined"}})");
  settings.service_account = "agent";
  settings.priority_class = "high";
  settings.disable_mesh_sidecar_injection = false;
  settings.exclude_from_mesh = true;
  settings.log_level = "debug";
  settings.json_log = true;
  settings.flush_connections = false;
  settings.nftables = true;
  settings.dns_attempts = 3;
  settings.dns_timeout_seconds = 4;
  settings.metrics = "0.0.0.0:9000";
  settings.inject_headers = true;
  settings.clean_iptables_on_start = true;
  settings.external_ip_fix = false;
  settings.override_cache_control = false;
  plan.node_host_name.clear();
  plan.tls_certificate = "-----BEGIN CERTIFICATE-----\n";
  plan.idle_ttl_seconds = 20;
  plan.target->mesh = Mesh::kIstioCni;
  plan.target->shares_process_namespace = true;
  plan.target->container_env_from = parsed(R"([{"configMapRef":{"name":"c"}}])");
  plan.target->container_env =
      parsed(R"([{"name":"A","value":"1"},{"name":"RUST_LOG","value":"the target's"}])");
  return plan;
}

Json golden(const std::string& name) {
  const std::string path = std::string(MIRRORD_GOLDEN) + "/" + name + ".json";
  std::string text;
  if (std::FILE* file = std::fopen(path.c_str(), "rb")) {
    char block[4096];
    for (std::size_t n = 0; (n = std::fread(block, 1, sizeof block, file)) > 0;)
      text.append(block, n);
    std::fclose(file);
  }
  return parsed(text);
}

TEST(Manifests, AreTheGoldenOnes) {
  AgentPlan targetless = sample_plan("mirrord:1");
  targetless.target.reset();
  AgentPlan original_targetless = sample_plan(kOriginal);
  original_targetless.target.reset();
  AgentPlan ephemeral = sample_plan("mirrord:1");
  ephemeral.kind = AgentKind::kEphemeral;
  AgentPlan original_ephemeral = everything_set(kOriginal);
  original_ephemeral.kind = AgentKind::kEphemeral;
  const std::pair<const char*, Json> cases[] = {
      {"job", job_manifest(sample_plan("mirrord:1"))},
      {"job_all_settings", job_manifest(everything_set("mirrord:1"))},
      {"job_targetless", job_manifest(targetless)},
      {"original_job", job_manifest(sample_plan(kOriginal))},
      {"original_job_all_settings", job_manifest(everything_set(kOriginal))},
      {"original_job_targetless", job_manifest(original_targetless)},
      {"pod", pod_manifest(sample_plan("mirrord:1"))},
      {"ephemeral", ephemeral_container(ephemeral)},
      {"original_ephemeral_all_settings", ephemeral_container(original_ephemeral)},
  };
  for (const auto& [name, made] : cases)
    EXPECT_EQ(made.dump(), golden(name).dump()) << name;
}

TEST(Manifests, OursNeedNoTrafficRightsWithoutTraffic) {
  AgentPlan plan = sample_plan("mirrord:1");
  plan.takes_traffic = false;
  EXPECT_EQ(pod_manifest(plan).dump().find("NET_ADMIN"), std::string::npos);
  plan.settings.image = kOriginal;
  EXPECT_NE(pod_manifest(plan).dump().find("NET_ADMIN"), std::string::npos);
}

TEST(Manifests, AnotherNamespaceHasNoOwner) {
  AgentPlan plan = sample_plan("mirrord:1");
  EXPECT_NE(job_manifest(plan).dump().find("ownerReferences"), std::string::npos);
  plan.name_space = "tools";
  EXPECT_EQ(job_manifest(plan).dump().find("ownerReferences"), std::string::npos);
}

TEST(Plans, NamesAndNumbersAreInTheirRanges) {
  std::string names;
  for (int i = 0; i < 200; ++i) {
    const auto plan = plan_agent({.target = sample_target(), .client_name_space = "mine"});
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->name.size(), 24U);
    EXPECT_TRUE(plan->name.starts_with("mirrord-agent-"));
    EXPECT_EQ(names.find(plan->name), std::string::npos);
    names += plan->name + " ";
    EXPECT_GE(plan->port, 30000);
    EXPECT_GE(plan->group_id, 3000U);
    EXPECT_LE(plan->group_id, 65534U);
  }
}

TEST(Plans, TheNamespaceFollowsTheOriginalsRules) {
  const auto name_space = [](AgentSettings settings, bool has_target, std::string target_ns) {
    AgentPlanRequest request{.settings = std::move(settings),
                             .target_name_space = std::move(target_ns),
                             .client_name_space = "context"};
    if (has_target)
      request.target = sample_target();
    return plan_agent(std::move(request))->name_space;
  };
  AgentSettings plain;
  AgentSettings named;
  named.name_space = "tools";
  AgentSettings ephemeral = named;
  ephemeral.ephemeral = true;
  EXPECT_EQ(name_space(plain, true, "shop"), "context");
  EXPECT_EQ(name_space(named, true, "shop"), "tools");
  EXPECT_EQ(name_space(ephemeral, true, "shop"), "shop");
  EXPECT_EQ(name_space(named, false, "shop"), "shop");
  EXPECT_EQ(name_space(named, false, ""), "context");
}

TEST(Plans, AnEphemeralAgentNeedsATarget) {
  AgentSettings settings;
  settings.ephemeral = true;
  const auto plan = plan_agent({.settings = settings});
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, ErrorCode::kConfig);
}

TEST(Plans, LostCapabilitiesAreSaid) {
  AgentPlan plan = sample_plan("mirrord:1");
  plan.settings.disabled_capabilities = {"NET_ADMIN", "SYS_PTRACE", "SYS_ADMIN", "KILL"};
  const auto warnings = plan_warnings(plan);
  ASSERT_EQ(warnings.size(), 4U);
  EXPECT_NE(warnings[0].find("neither stolen nor mirrored"), std::string::npos);
  EXPECT_NE(warnings[3].find("`KILL`"), std::string::npos);
  plan.kind = AgentKind::kEphemeral;
  plan.takes_traffic = false;
  EXPECT_EQ(plan_warnings(plan).size(), 2U);  // SYS_PTRACE and the unknown one
  plan.settings.disabled_capabilities.clear();
  EXPECT_TRUE(plan_warnings(plan).empty());
  plan.target->mesh = Mesh::kIstioAmbient;
  EXPECT_EQ(plan_warnings(plan).size(), 1U);
}

}  // namespace
}  // namespace mirrord::k8s
