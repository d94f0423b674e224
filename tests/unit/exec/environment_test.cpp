// tests/unit/exec/environment_test.cpp — the environment that the program gets, dotenv files.
#include <gtest/gtest.h>

#include "applets/child_environment.h"
#include "tests/unit/config/support.h"

namespace mirrord {
namespace {

constexpr SessionVariables session() {
  return {"/tmp/s", "/h.so", "e30=", false};
}

std::map<std::string, std::string> compose(std::vector<const char*> inherited,
                                           const std::map<std::string, std::string>& remote,
                                           const config::ResolvedConfig& config,
                                           const SessionVariables& own = session()) {
  inherited.push_back(nullptr);
  const auto variables = child_environment(inherited.data(), remote, config, own);
  std::map<std::string, std::string> out;
  if (!variables) {
    out["error"] = variables.error().what;
    return out;
  }
  for (const std::string& entry : variables->entries())
    out[entry.substr(0, entry.find('='))] = entry.substr(entry.find('=') + 1);
  return out;
}

TEST(ChildEnvironment, RemoteIsLaidOverInherited) {
  auto got = compose({"A=here", "B=here"}, {{"B", "there"}, {"C", "there"}}, {});
  EXPECT_EQ(got["A"], "here");
  EXPECT_EQ(got["B"], "there");
  EXPECT_EQ(got["C"], "there");
  EXPECT_EQ(got["MIRRORD_PROGRESS_MODE"], "off");
  EXPECT_EQ(got["MIRRORD_SESSION"], "/tmp/s");
  EXPECT_EQ(got["MIRRORD_RESOLVED_CONFIG"], "e30=");
}

TEST(ChildEnvironment, FileThenMappingThenOverrideThenUnset) {
  const config::TemporaryFile file("B=file\nC_URL=file\n", ".env");
  config::ResolvedConfig config;
  config.environment.env_file = file.path();
  config.environment.mapping = {{"_URL$", "mapped"}, {"^C", "second"}, {"^(?!C|B)D", "look"}};
  config.environment.override_values = {{"E", "override"}, {"A", "override"}};
  config.environment.unset = {"gone"};
  auto got = compose({"GONE=1", "A=here"},
                     {{"A", "remote"}, {"B", "remote"}, {"D", "remote"}, {"CX", "remote"}}, config);
  EXPECT_EQ(got["A"], "override");
  EXPECT_EQ(got["B"], "file");
  EXPECT_EQ(got["C_URL"], "mapped") << "the first pattern decides";
  EXPECT_EQ(got["CX"], "second");
  EXPECT_EQ(got["D"], "look");
  EXPECT_EQ(got["E"], "override");
  EXPECT_FALSE(got.contains("GONE")) << "unset ignores case";
}

TEST(ChildEnvironment, PreloadKeepsWhatIsThere) {
  EXPECT_EQ(compose({}, {}, {})["LD_PRELOAD"], "/h.so");
  EXPECT_EQ(compose({"LD_PRELOAD="}, {}, {})["LD_PRELOAD"], "/h.so");
  EXPECT_EQ(compose({"LD_PRELOAD=/a.so"}, {}, {})["LD_PRELOAD"], "/a.so:/h.so");
  EXPECT_EQ(compose({"LD_PRELOAD=/h.so"}, {}, {})["LD_PRELOAD"], "/h.so");
  EXPECT_EQ(compose({}, {{"LD_PRELOAD", "/theirs.so"}}, {})["LD_PRELOAD"], "/h.so");
}

TEST(ChildEnvironment, ProxiesAreBlankedOnRequestButNotRemoteOnes) {
  config::ResolvedConfig config;
  config.use_proxy = false;
  auto got = compose({"HTTP_PROXY=x", "https_proxy=y"}, {{"HTTP_PROXY", "remote"}}, config);
  EXPECT_EQ(got["HTTP_PROXY"], "remote");
  EXPECT_EQ(got["https_proxy"], "");
}

TEST(ChildEnvironment, GoLooksNamesUpThroughLibc) {
  SessionVariables own = session();
  own.is_go = true;
  EXPECT_EQ(compose({}, {}, {}, own)["GODEBUG"], "netdns=cgo");
  EXPECT_EQ(compose({"GODEBUG=x=1"}, {}, {}, own)["GODEBUG"], "x=1,netdns=cgo");
  EXPECT_EQ(compose({"GODEBUG=netdns=go"}, {}, {}, own)["GODEBUG"], "netdns=go");
  EXPECT_FALSE(compose({}, {}, {}).contains("GODEBUG"));
}

TEST(ChildEnvironment, AMissingFileIsAnError) {
  config::ResolvedConfig config;
  config.environment.env_file = "/nowhere/x.env";
  EXPECT_EQ(compose({}, {}, config)["error"],
            "reading `/nowhere/x.env`: No such file or directory");
}

TEST(EnvFile, LinesQuotesAndComments) {
  const auto pairs = parse_env_file(
      "# note\n\nA=1\nexport B = two words # note\r\n"
      "C='# kept'\nD=\"a\\nb\\\"\"\nE=\nF=x#y",
      "f");
  ASSERT_TRUE(pairs.has_value());
  EXPECT_EQ(*pairs, (config::StringPairs{{"A", "1"},
                                         {"B", "two words"},
                                         {"C", "# kept"},
                                         {"D", "a\nb\""},
                                         {"E", ""},
                                         {"F", "x#y"}}));
  EXPECT_EQ(parse_env_file("A=1\nwrong\n", "f").error().what, "f:2: expected NAME=value");
}

}  // namespace
}  // namespace mirrord
