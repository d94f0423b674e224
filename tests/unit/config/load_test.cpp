// tests/unit/config/load_test.cpp — short forms, sources and their order, what they resolve to.
#include <gtest/gtest.h>

#include "applets/config/keys.h"
#include "applets/http_filter.h"
#include "applets/version.h"
#include "tests/unit/config/support.h"

namespace mirrord::config {
namespace {

using Strings = std::vector<std::string>;

ResolvedConfig defaults() {
  Loading loading;
  LoadRequest request;
  request.environment = [](std::string_view) { return std::nullopt; };
  return *load(request);
}

TEST(Defaults, AreThoseOfTheTable) {
  const ResolvedConfig config = defaults();
  EXPECT_EQ(config.target.kind, TargetKind::kTargetless);
  EXPECT_FALSE(config.target.is_explicit);
  EXPECT_EQ(config.files.mode, FileMode::kLocalWithOverrides) << "no target: only overrides";
  EXPECT_EQ(config.files.readonly_buffer, 128'000U);
  EXPECT_TRUE(config.network.outgoing_tcp);
  EXPECT_TRUE(config.network.outgoing_udp);
  EXPECT_TRUE(config.network.dns);
  EXPECT_TRUE(config.network.ipv6);
  EXPECT_FALSE(config.network.ignore_localhost);
  EXPECT_EQ(config.network.incoming.mode, IncomingMode::kMirror);
  EXPECT_FALSE(config.network.incoming.is_explicit);
  EXPECT_TRUE(config.remote_hostname);
  EXPECT_TRUE(config.skip_build_tools);
  EXPECT_TRUE(config.use_proxy);
  EXPECT_TRUE(config.guard_std_fds);
  EXPECT_EQ(config.proxy.idle_timeout_seconds, 5U);
  EXPECT_EQ(config.proxy.start_idle_timeout_seconds, 60U);
  EXPECT_EQ(config.agent.startup_timeout_seconds, 60U);
  EXPECT_TRUE(config.key_is_generated);
  EXPECT_EQ(config.key.size(), 5U);
  EXPECT_EQ(config.environment.unset, Strings{"AWS_PROFILE"});
}

TEST(ShortForms, OfTheFileSystem) {
  const Loading loading;
  EXPECT_EQ(loading.good(R"({"target":"demo","feature":{"fs":true}})").files.mode, FileMode::kRead);
  EXPECT_EQ(loading.good(R"({"target":"demo","feature":{"fs":false}})").files.mode,
            FileMode::kLocal);
  EXPECT_EQ(loading.good(R"({"target":"demo","feature":{"fs":"write"}})").files.mode,
            FileMode::kWrite);
  EXPECT_EQ(loading.good(R"({"target":"demo","feature":{"fs":{"mode":"local"}}})").files.mode,
            FileMode::kLocal);
  EXPECT_EQ(loading.good(R"({"target":"demo","feature":{"fs":{}}})").files.mode, FileMode::kRead);
  EXPECT_EQ(loading.good(R"({"feature":{"fs":{"local":"a"}}})").files.local, Strings{"a"});
  EXPECT_EQ(loading.good(R"({"feature":{"fs":{"local":["a","b"]}}})").files.local,
            (Strings{"a", "b"}));
}

TEST(ShortForms, OfTheEnvironment) {
  const Loading loading;
  EXPECT_EQ(loading.good(R"({"feature":{"env":false}})").environment.exclude, Strings{"*"});
  EXPECT_TRUE(loading.good(R"({"feature":{"env":true}})").environment.exclude.empty());
  EXPECT_EQ(loading.good(R"({"feature":{"env":{"include":"A_*"}}})").environment.include,
            Strings{"A_*"});
  const auto rules = loading
                         .good(R"({"feature":{"env":{"override":{"B":"2","A":"1"},
      "mapping":{".+_TIMEOUT":"1000"},"unset":"X","load_from_process":true}}})")
                         .environment;
  EXPECT_EQ(rules.override_values, (StringPairs{{"B", "2"}, {"A", "1"}})) << "the file's order";
  EXPECT_EQ(rules.mapping, (StringPairs{{".+_TIMEOUT", "1000"}}));
  EXPECT_EQ(rules.unset, (Strings{"X", "AWS_PROFILE"}));
  EXPECT_TRUE(rules.load_from_process);
}

TEST(ShortForms, OfTheNetwork) {
  const Loading loading;
  const auto off = loading.good(R"({"feature":{"network":false}})").network;
  EXPECT_FALSE(off.dns);
  EXPECT_FALSE(off.outgoing_tcp);
  EXPECT_FALSE(off.outgoing_udp);
  EXPECT_EQ(off.incoming.mode, IncomingMode::kOff);
  EXPECT_TRUE(off.ipv6) << "the short form leaves IPv6 alone";
  const auto part = loading.good(R"({"feature":{"network":{"dns":false,"outgoing":false}}})");
  EXPECT_FALSE(part.network.dns);
  EXPECT_FALSE(part.network.outgoing_udp);
  const auto mixed = loading.good(
      R"({"feature":{"network":{"outgoing":{"udp":false,"ignore_localhost":true},"ipv6":false}}})");
  EXPECT_TRUE(mixed.network.outgoing_tcp);
  EXPECT_FALSE(mixed.network.outgoing_udp);
  EXPECT_TRUE(mixed.network.ignore_localhost);
  EXPECT_FALSE(mixed.network.ipv6);
}

TEST(IncomingTraffic, PortsAndDelivery) {
  const Loading loading;
  const auto incoming =
      loading
          .good(R"({"target":"demo","feature":{"network":{"incoming":{"mode":"steal",)"
                R"("port_mapping":[[8080,80]],"listen_ports":[[80,18080]],"ports":[80,443],)"
                R"("ignore_localhost":true,"on_concurrent_steal":"override",)"
                R"("tls_delivery":{"protocol":"tls","server_name":"shop"},)"
                R"("http_filter":{"header_filter":"x: y","ports":80}}}}})")
          .network.incoming;
  EXPECT_EQ(incoming.mode, IncomingMode::kSteal);
  ASSERT_EQ(incoming.port_mapping.size(), 1U);
  EXPECT_EQ(incoming.port_mapping[0].program, 8080);
  EXPECT_EQ(incoming.port_mapping[0].other, 80);
  ASSERT_EQ(incoming.listen_ports.size(), 1U);
  EXPECT_EQ(incoming.listen_ports[0].other, 18080);
  EXPECT_EQ(incoming.ports, (std::vector<uint16_t>{80, 443}));
  EXPECT_EQ(incoming.http_filter_ports, (std::vector<uint16_t>{80}));
  EXPECT_TRUE(incoming.ignore_localhost);
  EXPECT_EQ(incoming.on_concurrent_steal, ConcurrentSteal::kOverride);
  ASSERT_TRUE(incoming.tls_delivery);
  EXPECT_TRUE(incoming.tls_delivery->uses_tls);
  EXPECT_EQ(incoming.tls_delivery->server_name, "shop");
}

TEST(IncomingTraffic, HttpFilters) {
  Loading loading;
  const auto filter = [&loading](const std::string& text) {
    return loading
        .good(R"({"target":"demo","feature":{"network":{"incoming":{"mode":"steal",)"
              R"("http_filter":)" +
              text + "}}}}")
        .network.incoming.http_filter;
  };
  EXPECT_EQ(describe(*filter(R"f({"header_filter":"^x: (?!y)"})f")), "header ~ `^x: (?!y)`");
  EXPECT_EQ(describe(*filter(R"({"method_filter":"patch"})")), "method PATCH");
  EXPECT_EQ(describe(*filter(R"({"method_filter":"purge"})")), "method PURGE");
  EXPECT_EQ(describe(*filter(R"f({"header_filter_jq":"test(\"a\")"})f")),
            "header | jq `test(\"a\")`");
  EXPECT_EQ(describe(*filter(R"({"body_filter":{"body":"json","query":"$.a","matches":"b"}})")),
            "JSON body `$.a` ~ `b`");
  EXPECT_EQ(describe(*filter(R"({"any_of":[{"header":"a"},{"path":"b"},{"method":"GET"},
                                {"query":"true"},{"body":"json","query":"$","matches":"c"}]})")),
            "header ~ `a` or path ~ `b` or method GET or header | jq `true` or "
            "JSON body `$` ~ `c`");
  EXPECT_FALSE(filter("true"));
  EXPECT_FALSE(filter(R"({"ports":[80]})"));
}

TEST(ShortForms, OfIncomingTraffic) {
  const Loading loading;
  const auto mode = [&](const std::string& value) {
    return loading.good(R"({"target":"demo","feature":{"network":{"incoming":)" + value + "}}}")
        .network.incoming.mode;
  };
  EXPECT_EQ(mode("true"), IncomingMode::kMirror);
  EXPECT_EQ(mode("false"), IncomingMode::kOff);
  EXPECT_EQ(mode("\"steal\""), IncomingMode::kSteal);
  EXPECT_EQ(mode("{\"mode\":\"off\"}"), IncomingMode::kOff);
  EXPECT_EQ(mode("{}"), IncomingMode::kMirror);
}

TEST(ShortForms, OfTheTarget) {
  const Loading loading;
  EXPECT_EQ(loading.good(R"({"target":"process/17"})").target.pid, 17);
  EXPECT_EQ(loading.good(R"({"target":{"path":"container/web"}})").target.name, "web");
  EXPECT_EQ(loading.good(R"({"target":null})").target.kind, TargetKind::kTargetless);
  const auto pod =
      loading.good(R"({"target":{"path":{"stateful_set":"db","container":"c"},"namespace":"n"}})")
          .target;
  EXPECT_EQ(pod.kind, TargetKind::kKubernetes);
  EXPECT_EQ(pod.name, "statefulset/db/container/c");
  EXPECT_EQ(pod.name_space, "n");
  EXPECT_EQ(loading.good(R"({"target":{"deployment":"x"}})").target.name, "deployment/x");
  EXPECT_EQ(loading.good(R"({"target":{"labels":{"a":"1","b":"2"}}})").target.name,
            "label/a=1,b=2");
  EXPECT_EQ(loading.good(R"({"target":{"daemon_set":"d"}})").target.path.kind,
            k8s::TargetKind::kDaemonSet);
}

TEST(Agent, SettingsReachThePod) {
  Loading loading;
  const auto settings = loading
                            .good(R"({"target":"pod/a","agent":{
        "image":{"tag":"7"},"image_pull_secrets":[{"name":"key"}],"namespace":"tools","ttl":9,
        "tolerations":[{"key":"a","operator":"Exists","tolerationSeconds":5}],
        "resources":{"limits":{"cpu":1,"memory":"1Mi"}},"labels":{"team":"x"},
        "security_context":{"seccomp_profile":{"type":"Localhost","localhost_profile":"p.json"}},
        "disabled_capabilities":["NET_ADMIN"],"dns":{"timeout":2},"nftables":false}})")
                            .agent_pod;
  EXPECT_EQ(settings.image, "mirrord:7");
  EXPECT_EQ(settings.image_pull_secrets, std::vector<std::string>{"key"});
  EXPECT_EQ(settings.name_space, "tools");
  EXPECT_EQ(settings.ttl_seconds, 9U);
  EXPECT_EQ(settings.tolerations->dump(),
            R"([{"key":"a","operator":"Exists","tolerationSeconds":5}])");
  EXPECT_EQ(settings.resources->dump(), R"({"limits":{"cpu":1,"memory":"1Mi"}})");
  EXPECT_EQ(settings.security_context->dump(),
            R"({"seccompProfile":{"type":"Localhost","localhostProfile":"p.json"}})");
  EXPECT_EQ(settings.labels, (k8s::StringPairs{{"team", "x"}}));
  EXPECT_EQ(settings.dns_timeout_seconds, 2U);
  EXPECT_EQ(settings.nftables, false);
  EXPECT_EQ(loading.good("{}").agent_pod.image, std::string("mirrord:") + kVersion);
  loading.environment["MIRRORD_AGENT_IMAGE"] = "other@sha256:0";
  EXPECT_EQ(loading.good(R"({"agent":{"image":"x"}})").agent_pod.image, "other@sha256:0");
}

TEST(Cluster, KubeconfigListsAreSplitAndExpanded) {
  Loading loading;
  loading.environment["HOME"] = "/home/me";
  loading.environment["DIR"] = "/etc/kube";
  const auto cluster =
      loading.good(R"({"kubeconfig":"~/a::$DIR/b:${DIR}x","kube_context":"c"})").cluster;
  EXPECT_EQ(cluster.kubeconfig_files,
            (std::vector<std::string>{"/home/me/a", "/etc/kube/b", "/etc/kubex"}));
  EXPECT_EQ(cluster.context, "c");
  EXPECT_FALSE(cluster.accept_invalid_certificates);
}

TEST(ShortForms, OfFilters) {
  const Loading loading;
  const auto one = loading.good(
      R"({"feature":{"network":{"outgoing":{"filter":{"remote":"tcp://1.2.3.4:80"}}}}})");
  EXPECT_EQ(one.network.outgoing_filter.side, FilterSide::kRemote);
  EXPECT_EQ(one.network.outgoing_filter.entries, Strings{"tcp://1.2.3.4:80"});
  const auto list =
      loading.good(R"({"feature":{"network":{"dns":{"filter":{"local":["a.example",":53"]}}}}})");
  EXPECT_EQ(list.network.dns_filter.side, FilterSide::kLocal);
  EXPECT_EQ(list.network.dns_filter.entries, (Strings{"a.example", ":53"}));
}

TEST(Order, FlagThenEnvironmentThenFileThenDefault) {
  Loading loading;
  const std::string text = R"({"target":"demo","feature":{"fs":"local"}})";
  EXPECT_EQ(loading.good(text).files.mode, FileMode::kLocal);
  loading.environment["MIRRORD_FILE_MODE"] = "write";
  EXPECT_EQ(loading.good(text).files.mode, FileMode::kWrite);
  loading.flags["MIRRORD_FILE_MODE"] = "read";
  EXPECT_EQ(loading.good(text).files.mode, FileMode::kRead);
}

TEST(Order, EnvironmentWinsOverShortForms) {
  Loading loading;
  loading.environment = {{"MIRRORD_REMOTE_DNS", "true"}, {"MIRRORD_TCP_OUTGOING", "true"}};
  const auto network = loading.good(R"({"feature":{"network":false}})").network;
  EXPECT_TRUE(network.dns);
  EXPECT_TRUE(network.outgoing_tcp);
  EXPECT_FALSE(network.outgoing_udp);
  loading.environment = {{"MIRRORD_FILE_READ_ONLY_PATTERN", "^/a; ^/b ;;"}};
  EXPECT_EQ(loading.good(R"({"feature":{"fs":{"read_only":"x"}}})").files.read_only,
            (Strings{"^/a", "^/b"}));
}

TEST(Environment, OldPairOfFileModeVariables) {
  Loading loading;
  const auto mode = [&](std::map<std::string, std::string> environment) {
    loading.environment = std::move(environment);
    return loading.good(R"({"target":"demo"})").files.mode;
  };
  EXPECT_EQ(mode({{"MIRRORD_FILE_OPS", "true"}}), FileMode::kWrite);
  EXPECT_EQ(mode({{"MIRRORD_FILE_RO_OPS", "true"}}), FileMode::kRead);
  EXPECT_EQ(mode({{"MIRRORD_FILE_OPS", "false"}}), FileMode::kLocal);
  EXPECT_EQ(mode({{"MIRRORD_FILE_MODE", "write"}, {"MIRRORD_FILE_RO_OPS", "true"}}),
            FileMode::kWrite);
}

TEST(Environment, EveryBooleanVariableRefusesOtherWords) {
  for (const Key& key : all_keys()) {
    if (key.type != "bool" || key.environment.empty() || (key.marks & kOperator) != 0)
      continue;
    // Those that only Kubernetes reads are not looked at yet.
    Loading loading;
    loading.environment[std::string(key.environment)] = "yes";
    const std::string errors = loading.errors("{}");
    if (errors != "no error") {
      EXPECT_EQ(errors, "invalid " + std::string(key.environment) +
                            " value `yes`: expected true or false\n");
    } else {
      EXPECT_TRUE(key.path.starts_with("agent.") || key.path == "api" || key.path == "telemetry" ||
                  key.path == "accept_invalid_certificates")
          << key.path << " is not read";
    }
  }
}

TEST(Environment, TheRestOfTheVariables) {
  Loading loading;
  loading.environment = {
      {"MIRRORD_IMPERSONATED_TARGET", "process/5"},
      {"MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE", "A;B_*"},
      {"MIRRORD_OVERRIDE_ENV_VARS_FILE", "/x.env"},
      {"MIRRORD_FILE_READ_WRITE_PATTERN", "^/w"},
      {"MIRRORD_FILE_LOCAL_PATTERN", "^/l"},
      {"MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "false"},
      {"MIRRORD_OUTGOING_REMOTE_UNIX_STREAMS", "docker"},
      {"MIRRORD_ENABLE_IPV6", "false"},
      {"MIRRORD_SKIP_PROCESSES", "a;b"},
      {"MIRRORD_SKIP_BUILD_TOOLS", "false"},
      {"MIRRORD_SKIP_EXTRA_BUILD_TOOLS", "tool"},
      {"MIRRORD_PROXY", "false"},
      {"MIRRORD_KEY", "mine"},
      {"MIRRORD_AGENT_RUST_LOG", "debug"},
      {"MIRRORD_AGENT_JSON_LOG", "true"},
      {"MIRRORD_AGENT_STARTUP_TIMEOUT", "7"},
      {"MIRRORD_AGENT_COMMUNICATION_TIMEOUT", "8"},
      {"MIRRORD_ENV_LOAD_FROM_PROCESS", "true"},
  };
  const ResolvedConfig config = loading.good("{}");
  EXPECT_EQ(config.target.pid, 5);
  EXPECT_EQ(config.environment.exclude, (Strings{"A", "B_*"}));
  EXPECT_EQ(config.environment.env_file, "/x.env");
  EXPECT_TRUE(config.environment.load_from_process);
  EXPECT_EQ(config.files.read_write, Strings{"^/w"});
  EXPECT_EQ(config.files.local, Strings{"^/l"});
  EXPECT_EQ(config.network.incoming.mode, IncomingMode::kOff);
  EXPECT_EQ(config.network.unix_streams, Strings{"docker"});
  EXPECT_FALSE(config.network.ipv6);
  EXPECT_EQ(config.skip_processes, (Strings{"a", "b"}));
  EXPECT_FALSE(config.skip_build_tools);
  EXPECT_EQ(config.skip_extra_build_tools, Strings{"tool"});
  EXPECT_FALSE(config.use_proxy);
  EXPECT_EQ(config.key, "mine");
  EXPECT_FALSE(config.key_is_generated);
  EXPECT_EQ(config.agent.log_level, "debug");
  EXPECT_TRUE(config.agent.json_log);
  EXPECT_EQ(config.agent.startup_timeout_seconds, 7U);
  EXPECT_EQ(config.agent.communication_timeout_seconds, 8U);
}

TEST(ConnectTcp, IsADirectConnectionWhateverTheTarget) {
  Loading loading;
  const auto target = loading.good(R"({"target":"process/1","connect_tcp":"127.0.0.1:7777"})");
  EXPECT_EQ(target.target.kind, TargetKind::kAddress);
  EXPECT_EQ(target.target.address, "127.0.0.1:7777");
  loading.environment["MIRRORD_CONNECT_TCP"] = "[::1]:80";
  EXPECT_EQ(loading.good("{}").target.address, "[::1]:80");
  EXPECT_EQ(loading.good("{}").files.mode, FileMode::kRead);
}

TEST(Templates, AreRenderedBeforeParsing) {
  Loading loading;
  loading.environment = {{"WHERE", "container/web"}, {"MIRRORD_BRANCH_NAME", "topic"}};
  const auto config = loading.good(R"({"key": "k-{{ git_branch }}",
      "target": "{{ get_env(name="WHERE") }}", {# a note #}
      "feature": {"env": {"override": {"A": "{{ get_env(name='NO', default='x y') }}",
                                       "B": "{{ key }}"}}}})");
  EXPECT_EQ(config.target.name, "web");
  EXPECT_EQ(config.key, "k-topic");
  EXPECT_EQ(config.environment.override_values, (StringPairs{{"A", "x y"}, {"B", "k-topic"}}));
}

TEST(Magic, AwsHidesTheProfileAndMovesTheDirectory) {
  Loading loading;
  loading.environment = {{"HOME", "/home/a.b"}, {"TMPDIR", "/var/tmp"}};
  const auto on = loading.good("{}");
  EXPECT_EQ(on.files.mapping, (StringPairs{{"^/home/a\\.b/\\.aws(/.*)?", "/var/tmp/.aws$1"}}));
  const auto off = loading.good(R"({"feature":{"magic":{"aws":false}}})");
  EXPECT_TRUE(off.files.mapping.empty());
  EXPECT_TRUE(off.environment.unset.empty());
}

TEST(Reflection, OutgoingNamesAreLookedUpOnTheirSide) {
  const Loading loading;
  const auto dns = [&](const std::string& outgoing, const std::string& names) {
    return loading
        .good(R"({"feature":{"network":{"outgoing":{"filter":)" + outgoing + R"(},"dns":)" + names +
              "}}}")
        .network.dns_filter;
  };
  const auto created = dns(R"({"local":["a.example:80","10.0.0.1"]})", "true");
  EXPECT_EQ(created.side, FilterSide::kLocal);
  EXPECT_EQ(created.entries, Strings{"a.example:80"});
  EXPECT_EQ(dns(R"({"remote":["a.example"]})", "true").side, FilterSide::kNone);
  EXPECT_EQ(
      dns(R"({"remote":["a.example"]})", R"({"filter":{"remote":["b","a.example"]}})").entries,
      (Strings{"b", "a.example"}));
  EXPECT_EQ(dns(R"({"local":["a.example"]})", R"({"filter":{"remote":["b"]}})").entries,
            Strings{"b"});
  EXPECT_EQ(dns(R"({"local":["a.example"]})", "false").side, FilterSide::kNone);
}

TEST(Keys, TableIsWhole) {
  EXPECT_GT(all_keys().size(), 420U);
  for (const Key& key : all_keys()) {
    const std::size_t dot = key.path.rfind('.');
    if (dot == std::string_view::npos)
      continue;
    std::string_view parent = key.path.substr(0, dot);
    if (parent.ends_with("[]"))
      parent.remove_suffix(2);
    EXPECT_NE(find_key(parent), nullptr) << key.path << " has no parent";
  }
}

}  // namespace
}  // namespace mirrord::config
