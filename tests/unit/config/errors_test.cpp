// tests/unit/config/errors_test.cpp — a corpus of wrong configurations and what the user is told.
#include <gtest/gtest.h>

#include "applets/config/target.h"
#include "tests/unit/config/support.h"

namespace mirrord::config {
namespace {

struct Case {
  const char* text;
  const char* expected;
};

void check(std::initializer_list<Case> cases) {
  const Loading loading;
  for (const Case& wrong : cases)
    EXPECT_EQ(loading.errors(wrong.text), wrong.expected) << "of " << wrong.text;
}

TEST(Errors, OfJsonNameThePlace) {
  const Loading loading;
  const std::pair<const char*, const char*> cases[] = {
      {"",
       "FILE:1:1: not valid JSON: the file is empty | Write {} for a configuration without "
       "settings.\n"},
      {"{\n  \"feature\": {,}\n}",
       "FILE:2:15: not valid JSON: expected a key in double quotes, found `,` | Remove one of the "
       "commas.\n"},
      {"{\"a\" 1}", "FILE:1:6: not valid JSON: expected a colon after the key, found `1`\n"},
      {"{\"a\": 1 \"b\": 2}",
       "FILE:1:9: not valid JSON: expected a comma or `}`, found `\"b\"` | A comma may be missing "
       "before it.\n"},
      {"{\"a\": [1, 2}",
       "FILE:1:12: not valid JSON: expected a comma or `]`, found `}` | Brackets and braces must "
       "be closed in the order in which they were opened.\n"},
      {"{\"a\": [1, 2,]}",
       "FILE:1:13: not valid JSON: expected a value, found `]` | Remove the comma before it.\n"},
      {"{ // note\n}",
       "FILE:1:3: not valid JSON: expected a key in double quotes, found `//` | JSON has no "
       "comments; remove it, or use YAML.\n"},
      {"{\"a\": tru}",
       "FILE:1:7: not valid JSON: expected a value, found `tru` | Texts and keys stand in double "
       "quotes.\n"},
      {"{\"a\": 01}",
       "FILE:1:7: not valid JSON: a number of a wrong form: `01` | Numbers are decimal, without "
       "leading zeros, units or separators.\n"},
      {"{\"a\": 1.}",
       "FILE:1:7: not valid JSON: a number of a wrong form: `1.` | Numbers are decimal, without "
       "leading zeros, units or separators.\n"},
      {"{\"a\": \"x\ny\"}",
       "FILE:1:7: not valid JSON: a string without its closing quote | Write a line break inside "
       "it as \\n.\n"},
      {"{\"a\": \"\\.\"}",
       "FILE:1:8: not valid JSON: an unknown escape | Write a backslash as \\\\.\n"},
      {"{\"a\": \"x",
       "FILE:1:7: not valid JSON: a string without its closing quote | Write a line break inside "
       "it as \\n.\n"},
      {"{} x",
       "FILE:1:4: not valid JSON: text after the end of the configuration: `x` | A file is one "
       "object; remove what stands after its closing brace.\n"},
  };
  for (const auto& [text, expected] : cases)
    EXPECT_EQ(loading.errors(text), expected) << "of " << text;
}

TEST(Errors, OfKeysNameThePathAndTheNearestKey) {
  check({
      {"{\"feature\": {\n  \"netwrok\": true\n}}",
       "FILE:2:3: `feature.netwrok`: unknown key | Did you mean `feature.network`?\n"},
      {R"({"targt": "demo"})", "FILE:1:2: `targt`: unknown key | Did you mean `target`?\n"},
      {R"({"feature": {"fs": {"readonly": "a"}}})",
       "FILE:1:21: `feature.fs.readonly`: unknown key | Did you mean `feature.fs.read_only`?\n"},
      {R"({"feature": {"fs": {"read-only": "a"}}})",
       "FILE:1:21: `feature.fs.read-only`: unknown key | Did you mean `feature.fs.read_only`?\n"},
      {R"({"outgoing": true})",
       "FILE:1:2: `outgoing`: unknown key | Did you mean `feature.network.outgoing`?\n"},
      {R"({"pause": true})",
       "FILE:1:2: `pause`: unknown key | This key of old versions is gone; remove it.\n"},
      {R"({"zzzzzzzz": 1})",
       "FILE:1:2: `zzzzzzzz`: unknown key | Remove it. Keys here: accept_invalid_certificates, "
       "agent, api, baggage, ci, connect_tcp, container, experimental, external_proxy, feature, "
       "internal_proxy, key, kube_context, kubeconfig, multi_cluster, operator, profile, "
       "sip_binaries, skip_build_tools, skip_extra_build_tools, skip_processes, skip_sip, "
       "startup_retry, target, telemetry, traceparent, use_proxy. See `mirrord config keys`.\n"},
      {R"({"key": "a", "key": "b"})",
       "FILE:1:14: the key `key` stands here a second time | Keep one of the two.\n"},
      {R"({"feature":{"network":{"incoming":{"http_filter":{"any_of":[{"heder":"x"}]}}}}})",
       "FILE:1:62: `feature.network.incoming.http_filter.any_of[0].heder`: unknown key | Did you "
       "mean `feature.network.incoming.http_filter.any_of[0].header`?\n"},
  });
}

TEST(Errors, OfTypesSayWhatWasExpected) {
  check({
      {R"([])",
       "FILE:1:1: expected an object, found a list | A configuration file is one object: { "
       "\"target\": … }.\n"},
      {R"({"feature": {"hostname": "yes"}})",
       "FILE:1:26: `feature.hostname`: expected true or false, found the string \"yes\" | Write "
       "true or false, without quotes.\n"},
      {R"({"feature": {"fs": 3}})",
       "FILE:1:20: `feature.fs`: expected true, false, one of local, localwithoverrides, read, "
       "write or an object, found the number 3\n"},
      {R"({"feature": {"fs": {"readonly_file_buffer": "1k"}}})",
       "FILE:1:45: `feature.fs.readonly_file_buffer`: expected a whole number from 0 to "
       "18446744073709551615, found the string \"1k\"\n"},
      {R"({"feature": {"fs": {"readonly_file_buffer": -1}}})",
       "FILE:1:45: `feature.fs.readonly_file_buffer`: expected a whole number from 0 to "
       "18446744073709551615, found the number -1\n"},
      {R"({"agent": {"ttl": 70000}})",
       "FILE:1:19: `agent.ttl`: expected a whole number from 0 to 65535, found the number 70000\n"},
      {R"({"feature": {"env": {"override": {"PORT": 80}}}})",
       "FILE:1:43: `feature.env.override.PORT`: expected a string, found the number 80 | Put it in "
       "double quotes.\n"},
      {R"({"feature": {"network": {"incoming": {"ports": [1, "2"]}}}})",
       "FILE:1:52: `feature.network.incoming.ports[1]`: expected a whole number from 0 to 65535, "
       "found the string \"2\" | Write 2 without quotes.\n"},
      {R"({"feature": {"network": {"incoming": {"port_mapping": [[1,2,3]]}}}})",
       "FILE:1:56: `feature.network.incoming.port_mapping[0]`: expected a pair of ports such as "
       "[80, 8080], found a list\n"},
      {R"({"feature": {"hostname": null}})", "no error"},
      {R"({"feature": {"fs": "raed"}})",
       "FILE:1:20: `feature.fs`: expected one of local, localwithoverrides, read, write, found "
       "`raed` | Did you mean `read`?\n"},
      {R"({"feature": {"network": {"incoming": "stael"}}})",
       "FILE:1:38: `feature.network.incoming`: expected one of mirror, steal, off, found `stael` "
       "| Did you mean `steal`?\n"},
  });
}

TEST(Errors, SeveralAreReportedAtOnceInTheFilesOrder) {
  check({{"{\"targt\": 1,\n \"feature\": {\"fs\": 3,\n  \"hostnam\": true}}",
          "FILE:1:2: `targt`: unknown key | Did you mean `target`?\nFILE:2:20: `feature.fs`: "
          "expected true, false, one of local, localwithoverrides, read, write or an object, found "
          "the number 3\nFILE:3:3: `feature.hostnam`: unknown key | Did you mean "
          "`feature.hostname`?\n"}});
}

TEST(Errors, OfConflicts) {
  check({
      {R"({"feature":{"env":{"include":"A","exclude":"B"}}})",
       "FILE:1:30: `feature.env.include`: conflicts with `feature.env.exclude` | Keep one of the "
       "two.\n"},
      {R"({"feature":{"network":{"outgoing":{"filter":{"local":[],"remote":[]}}}}})",
       "FILE:1:45: `feature.network.outgoing.filter`: has both `local` and `remote` | Keep one of "
       "the two lists.\n"},
      {R"({"feature":{"network":{"incoming":{"ports":[1],"ignore_ports":[2]}}}})",
       "FILE:1:63: `feature.network.incoming.ignore_ports`: conflicts with "
       "`feature.network.incoming.ports` | Keep one of the two.\n"},
      {R"({"feature":{"network":{"incoming":{"port_mapping":[[1,2],[1,3]]}}}})",
       "FILE:1:59: `feature.network.incoming.port_mapping`: the local port 1 stands here a second "
       "time | Each port may stand in one pair only.\n"},
      {R"({"feature":{"network":{"incoming":"steal"}}})",
       "FILE:1:35: `feature.network.incoming`: cannot steal traffic without a target | Name a "
       "target, or set the mode to off.\n"},
      {R"({"target":"demo","feature":{"network":{"incoming":{"http_filter":
          {"path_filter":"a","header_filter":"b"}}}}})",
       "FILE:2:11: `feature.network.incoming.http_filter`: has more than one filter: "
       "`header_filter`, `path_filter` | Keep one, or join them: \"all_of\": [{\"header\": \"…\"}, "
       "{\"path\": \"…\"}].\n"},
      {R"({"target":"demo","feature":{"network":{"incoming":{"http_filter":
          {"method_filter":"GET","header_filter_jq":"true"}}}}})",
       "FILE:2:11: `feature.network.incoming.http_filter`: has more than one filter: "
       "`method_filter`, `header_filter_jq` | Keep one, or join them: \"all_of\": [{\"header\": "
       "\"…\"}, {\"path\": \"…\"}].\n"},
      {R"({"target":"demo","feature":{"network":{"incoming":{"http_filter":
          {"any_of":[{"header":"a"},{"header":""}]}}}}})",
       "FILE:2:47: `feature.network.incoming.http_filter.any_of[1].header`: must not be empty | "
       "Remove it, or write `.*` for an expression that fits all.\n"},
      {R"({"target":"demo","feature":{"network":{"incoming":{"http_filter":
          {"all_of":[]}}}}})",
       "FILE:2:21: `feature.network.incoming.http_filter.all_of`: must not be an empty list | "
       "Remove it, or write [{\"header\": \"^x-user: me$\"}].\n"},
      {R"({"target":"demo","feature":{"network":{"incoming":{"http_filter":
          {"header_filter":"x: (a"}}}}})",
       "FILE:2:28: `feature.network.incoming.http_filter.header_filter`: the regular expression "
       "`x: (a` is invalid at character 6: a `(` without its `)` | Expressions are Rust's, with "
       "look-around and back-references; in JSON a backslash is written twice.\n"},
      {R"({"target":"demo","feature":{"network":{"incoming":{"http_filter":
          {"body_filter":{"body":"json","query":"$[","matches":"a"}}}}}})",
       "FILE:2:49: `feature.network.incoming.http_filter.body_filter.query`: the JSONPath query "
       "`$[` is invalid at character 3: expected a selector: a name in quotes, a number, a slice, "
       "`*` or `?` | Queries are JSONPath as RFC 9535 has it, such as $.user.id or "
       "$.items[?@.n > 1].\n"},
      {R"({"target":"demo","feature":{"network":{"incoming":{"http_filter":
          {"all_of":[{"header":"a","path":"b"}]}}}}})",
       "FILE:2:22: `feature.network.incoming.http_filter.all_of[0]`: has more than one condition: "
       "it must have one of `header`, `path`, `method`, `query` | A filter of bodies has `body`, "
       "`query` and `matches`; each condition is an item of its own.\n"},
      {R"({"startup_retry":{"min_ms":10,"max_ms":5}})",
       "FILE:1:28: `startup_retry.min_ms`: 10 is above `startup_retry.max_ms`, which is 5 | Swap "
       "them, or remove one.\n"},
      {R"({"feature":{"fs":{"readonly_file_buffer":99999999}}})",
       "FILE:1:42: `feature.fs.readonly_file_buffer`: must not be above 15 MiB | Use a value up "
       "to 15728640; 0 switches it off.\n"},
      {R"({"operator":true})",
       "FILE:1:13: `operator`: this version has no support for the operator | Remove the key or "
       "set it to false.\n"},
      {R"({"target":{"pod":"a","deployment":"b"}})",
       "FILE:1:35: `target.deployment`: a second target beside `pod/a` | Keep one of them.\n"},
      {R"({"connect_tcp":"host"})",
       "FILE:1:16: `connect_tcp`: expected HOST:PORT, found `host` | Write for example "
       "127.0.0.1:9000.\n"},
  });
}

TEST(Errors, OfPatternsAndFilters) {
  constexpr std::string_view kPatternHint =
      " | Patterns are regular expressions; write a literal special character as \\\\. in JSON.\n";
  constexpr std::string_view kSplitHint =
      " | Write the pattern without it, or as several patterns.\n";
  constexpr std::string_view kFilterHint =
      " | Write [tcp://|udp://][NAME|IP|[IPV6]|IP/LENGTH][:PORT], for example "
      "`tcp://10.0.0.0/8:443`.\n";
  const Loading loading;
  const auto pattern = [&](const std::string& text) {
    return loading.errors(R"({"feature":{"fs":{"local":[")" + text + R"("]}}})");
  };
  const std::string place = "FILE:1:28: `feature.fs.local[0]`: invalid pattern ";
  EXPECT_EQ(pattern("a("), place + "`a(`: a `(` without its `)`" + std::string(kPatternHint));
  EXPECT_EQ(pattern("a)"), place + "`a)`: a `)` without its `(`" + std::string(kPatternHint));
  EXPECT_EQ(pattern("[a"), place + "`[a`: a `[` without its `]`" + std::string(kPatternHint));
  EXPECT_EQ(pattern("*a"),
            place + "`*a`: nothing stands before `*` to repeat" + std::string(kPatternHint));
  EXPECT_EQ(pattern("a{3,2}"), place + "`a{3,2}`: repetitions are written {2}, {2,} or {2,5}" +
                                   std::string(kPatternHint));
  EXPECT_EQ(pattern("(?!a)b"), place +
                                   "`(?!a)b`: look-around `(?!…)` cannot be used in path "
                                   "patterns" +
                                   std::string(kSplitHint));
  EXPECT_EQ(pattern("(a)\\\\1"), place +
                                     "`(a)\\1`: the back-reference `\\1` cannot be used in "
                                     "path patterns" +
                                     std::string(kSplitHint));
  EXPECT_EQ(pattern("\\\\p{Greek}"), place +
                                         "`\\p{Greek}`: the Unicode class `\\p` cannot be "
                                         "used in path patterns" +
                                         std::string(kSplitHint));
  EXPECT_EQ(pattern("[z-a]"),
            place + "`[z-a]`: a range that ends before it begins" + std::string(kPatternHint));

  const auto filter = [&](const std::string& text) {
    return loading.errors(R"({"feature":{"network":{"outgoing":{"filter":{"local":")" + text +
                          R"("}}}}})");
  };
  const std::string start = "FILE:1:54: `feature.network.outgoing.filter.local`: invalid filter ";
  EXPECT_EQ(filter("ftp://a"),
            start + "`ftp://a`: the protocol must be tcp, udp or any" + std::string(kFilterHint));
  EXPECT_EQ(filter("a:99999"),
            start + "`a:99999`: the port must be a number up to 65535" + std::string(kFilterHint));
  EXPECT_EQ(filter("1.2.3.4/33"),
            start + "`1.2.3.4/33`: the length does not fit the address" + std::string(kFilterHint));
  EXPECT_EQ(filter("*.example"),
            start + "`*.example`: there are no wildcards; a subnet is written IP/LENGTH" +
                std::string(kFilterHint));
}

TEST(Errors, OfTemplates) {
  constexpr char kHint[] =
      " | Use {{ get_env(name=\"X\", default=\"y\") }}, {{ key }} or {{ git_branch }}.\n";
  Loading loading;
  EXPECT_EQ(
      loading.errors("{\n\"key\": \"{{ user | upper }}\"}"),
      std::string("FILE:2:9: the template expression `user | upper` is not supported") + kHint);
  EXPECT_EQ(loading.errors("{% if x %}{}{% endif %}"),
            std::string("FILE:1:1: the template block `{% if x %}` is not supported") + kHint);
  EXPECT_EQ(loading.errors("{\"key\": \"{{ get_env(name='NOT_SET') }}\"}"),
            "FILE:1:10: the environment variable `NOT_SET` is not set | Set it, or give get_env a "
            "default=\"…\".\n");
  EXPECT_EQ(
      loading.errors("{\"key\": \"{{ key }}\"}"),
      "FILE:1:9: `key` refers to itself | Use {{ key }} elsewhere, or give the key with --key.\n");
}

TEST(Errors, OfVariablesAndFlagsNameTheirSource) {
  Loading loading;
  loading.environment["MIRRORD_FILE_MODE"] = "all";
  loading.flags["MIRRORD_TCP_OUTGOING"] = "maybe";
  EXPECT_EQ(loading.errors("{}"),
            "`feature.fs.mode` (from MIRRORD_FILE_MODE): invalid file mode `all` | Use local, "
            "localwithoverrides, read or write.\n"
            "invalid --flag value `maybe`: expected true or false\n");
}

TEST(Errors, OfFileNames) {
  Loading loading;
  const auto what = [&](const std::string& path) {
    const auto config = loading.load_file(path);
    return config ? "no error" : config.error()[0].what;
  };
  EXPECT_EQ(what("/x/mirrord.ini"), "/x/mirrord.ini: unknown kind of configuration file `.ini`");
  EXPECT_EQ(what("/nowhere/mirrord.json"),
            "reading `/nowhere/mirrord.json`: No such file or directory");
}

TEST(Targets, AllFormsParse) {
  EXPECT_EQ(parse_target("process/42")->pid, 42);
  EXPECT_EQ(parse_target("container/web")->name, "web");
  EXPECT_EQ(parse_target("demo")->kind, TargetKind::kDemo);
  EXPECT_EQ(parse_target("targetless")->kind, TargetKind::kTargetless);
  for (const char* text :
       {"pod/a", "deployment/a/container/b", "deploy/a", "rollout/a", "job/a", "cronjob/a",
        "statefulset/a", "service/a", "replicaset/a", "label/a=b,c=/container/x"})
    EXPECT_EQ(parse_target(text)->kind, TargetKind::kKubernetes) << text;
}

TEST(Targets, WrongOnesSayWhyAndWhatIsNear) {
  const auto why = [](std::string_view text) {
    const auto target = parse_target(text);
    return target ? "no error" : target.error().what;
  };
  EXPECT_EQ(why("proces/1"),
            "invalid target `proces/1`: there is no target kind `proces`; did you "
            "mean `process`?");
  EXPECT_EQ(why("web"),
            "invalid target `web`: there is no target kind `web`; did you mean "
            "`pod/web`?");
  EXPECT_EQ(why("process/abc"), "invalid target `process/abc`: `abc` is not a process id");
  EXPECT_EQ(why("process/0"), "invalid target `process/0`: `0` is not a process id");
  EXPECT_EQ(why("process/99999999999"),
            "invalid target `process/99999999999`: `99999999999` is not a process id");
  EXPECT_EQ(why("container/"),
            "invalid target `container/`: the name after `container/` is "
            "missing");
  EXPECT_EQ(why("pod/a/b"),
            "invalid target `pod/a/b`: after the name only /container/CONTAINER "
            "may follow");
  EXPECT_EQ(why("pod//container/b"), "invalid target `pod//container/b`: the name is empty");
  EXPECT_EQ(why("label/a=1,a=2"), "invalid target `label/a=1,a=2`: the label `a` stands twice");
  EXPECT_NE(parse_target("x/y").error().hint.find("process/PID, container/NAME, demo"),
            std::string::npos);
}

}  // namespace
}  // namespace mirrord::config
