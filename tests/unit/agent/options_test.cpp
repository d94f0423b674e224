// tests/unit/agent/options_test.cpp — the agent's command line, as the original's callers write it.
#include "applets/agent/options.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace mirrord::agent {
namespace {

Result<Options> parse(const std::vector<const char*>& arguments,
                      const std::map<std::string, std::string>& variables = {}) {
  return parse_options(arguments, [&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(AgentOptions, TakesWhatTheOriginalCommandLineSends) {
  const auto options =
      parse({"-l", "5000", "-t", "90", "targeted", "-c", "abc", "--container-runtime", "cri-o"});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->port, 5000);
  EXPECT_EQ(options->communication_timeout.count(), 90);
  EXPECT_EQ(options->kind, TargetKind::kTargeted);
  EXPECT_EQ(options->container, "abc");
  EXPECT_EQ(options->runtime, "cri-o");
}

TEST(AgentOptions, HasTheOriginalsDefaults) {
  const auto options = parse({"targetless"});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->port, 61337);
  EXPECT_EQ(options->communication_timeout.count(), 30);
  EXPECT_EQ(options->idle_ttl.count(), 0);
  EXPECT_EQ(options->stream_fd, -1);
  EXPECT_FALSE(options->is_mesh);
}

TEST(AgentOptions, AcceptsAllSpellingsOfAValue) {
  for (const auto& spelling :
       std::vector<std::vector<const char*>>{{"-l1234", "targetless"},
                                             {"-l=1234", "targetless"},
                                             {"--communicate-port=1234", "targetless"},
                                             {"--communicate-port", "1234", "targetless"}}) {
    const auto options = parse(spelling);
    ASSERT_TRUE(options) << spelling[0];
    EXPECT_EQ(options->port, 1234) << spelling[0];
  }
}

TEST(AgentOptions, IgnoresTheDeprecatedOnes) {
  EXPECT_TRUE(parse({"--ipv6", "ephemeral", "--mesh", "istio"}));
}

TEST(AgentOptions, RefusesWithUsageErrors) {
  const std::vector<std::vector<const char*>> wrong{
      {},
      {"unknown"},
      {"-l", "70000", "targetless"},
      {"-l", "", "targetless"},
      {"-l"},
      {"--is-mesh=yes", "targetless"},
      {"targeted"},
      {"targeted", "-c", "x", "-r", "podman"},
      {"process"},
      {"process", "--pid", "0"},
      {"process", "--pid", "12x"},
      {"container"},
      {"container", "a", "b"},
      {"targetless", "-l", "1"},  // global options come first
      {"targetless", "extra"},
  };
  for (const auto& arguments : wrong) {
    const auto options = parse(arguments);
    ASSERT_FALSE(options) << (arguments.empty() ? "" : arguments[0]);
    EXPECT_EQ(options.error().code, ErrorCode::kUsage);
    EXPECT_FALSE(options.error().what.empty());
    EXPECT_FALSE(options.error().hint.empty());
  }
}

TEST(AgentOptions, TakesTargetsWithoutKubernetes) {
  const auto process = parse({"--stream-fd", "7", "process", "--pid", "42"});
  ASSERT_TRUE(process);
  EXPECT_EQ(process->kind, TargetKind::kProcess);
  EXPECT_EQ(process->pid, 42);
  EXPECT_EQ(process->stream_fd, 7);
  const auto container = parse({"container", "web"});
  ASSERT_TRUE(container);
  EXPECT_EQ(container->kind, TargetKind::kContainer);
  EXPECT_EQ(container->container, "web");
}

TEST(AgentOptions, VariablesStandInForFlagsWithFalsyRules) {
  for (const char* falsy : {"", "0", "n", "no", "f", "false", "off", "OFF"}) {
    const auto options = parse({"targetless"}, {{"MIRRORD_AGENT_IN_SERVICE_MESH", falsy}});
    ASSERT_TRUE(options);
    EXPECT_FALSE(options->is_mesh) << falsy;
  }
  for (const char* truthy : {"1", "true", "yes", "anything"}) {
    const auto options = parse({"targetless"}, {{"MIRRORD_AGENT_CLEAN_IPTABLES_ON_START", truthy}});
    ASSERT_TRUE(options);
    EXPECT_TRUE(options->clean_iptables) << truthy;
  }
}

TEST(AgentOptions, AMalformedIdleTtlActsAsNone) {
  EXPECT_EQ(parse({"targetless"}, {{"MIRRORD_AGENT_IDLE_TTL", "20"}})->idle_ttl.count(), 20);
  EXPECT_EQ(parse({"targetless"}, {{"MIRRORD_AGENT_IDLE_TTL", "2 min"}})->idle_ttl.count(), 0);
  EXPECT_EQ(parse({"targetless"}, {{"MIRRORD_AGENT_IDLE_TTL", "-1"}})->idle_ttl.count(), 0);
}

TEST(AgentOptions, TheCommandLineWinsOverTheEnvironment) {
  const auto options =
      parse({"--metrics", "127.0.0.1:1", "targetless"}, {{"MIRRORD_AGENT_METRICS", "127.0.0.1:2"}});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->metrics_address, "127.0.0.1:1");
}

TEST(AgentOptions, AnEphemeralAgentLearnsItsContainerFromTheEnvironment) {
  const auto options =
      parse({"ephemeral"}, {{"MIRRORD_AGENT_EPHEMERAL_TARGET_CONTAINER_ID", "deadbeef"}});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->container, "deadbeef");
}

}  // namespace
}  // namespace mirrord::agent
