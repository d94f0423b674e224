// tests/unit/exec/config_commands_test.cpp — what verify-config and config print.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "applets/applet.h"
#include "tests/unit/config/support.h"

namespace mirrord {
namespace {

using config::TemporaryFile;

struct Printed {
  int code;
  std::string out;
  std::string err;
};

Printed run(int (*applet)(int, char**), std::vector<std::string> words) {
  std::vector<char*> argv;
  for (std::string& word : words)
    argv.push_back(word.data());
  argv.push_back(nullptr);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int code = applet(static_cast<int>(words.size()), argv.data());
  return {code, testing::internal::GetCapturedStdout(), testing::internal::GetCapturedStderr()};
}

TEST(VerifyConfig, SuccessIsADocument) {
  const TemporaryFile file(
      R"({"target":{"path":"deploy/web/container/c","namespace":"n"},"feature":{"copy_target":true}})");
  const Printed got = run(verify_config_main, {"verify-config", file.path()});
  EXPECT_EQ(got.code, 0);
  EXPECT_EQ(got.out,
            R"({
  "type": "Success",
  "config": {
    "path": {
      "deployment": "web",
      "container": "c"
    },
    "namespace": "n"
  },
  "warnings": [
    "feature.copy_target needs the operator and has no effect"
  ],
  "compatible_target_types": [
    "pod",
    "deployment",
    "job",
    "cronjob",
    "statefulset",
    "replicaset"
  ]
}
)");
}

TEST(VerifyConfig, FailureListsAllErrorsAndIsNoFailureOfTheCommand) {
  const TemporaryFile file("{\"a\": 1, \"feature\": {\"fs\": 3}}");
  const Printed got = run(verify_config_main, {"verify-config", "--ide", file.path()});
  EXPECT_EQ(got.code, 0);
  EXPECT_NE(got.out.find("\"type\": \"Fail\""), std::string::npos);
  EXPECT_NE(got.out.find("Failed to verify mirrord config: " + file.path() + ":1:2: `a`"),
            std::string::npos);
  EXPECT_NE(got.out.find(":1:28: `feature.fs`: expected"), std::string::npos) << got.out;
  EXPECT_EQ(got.err, "");
}

TEST(VerifyConfig, AnEditorMayStillChooseATarget) {
  const TemporaryFile file(R"({"feature":{"network":{"incoming":"steal"}}})");
  EXPECT_NE(run(verify_config_main, {"verify-config", "--ide", file.path()}).out.find("Success"),
            std::string::npos);
  EXPECT_NE(run(verify_config_main, {"verify-config", file.path()}).out.find("Fail"),
            std::string::npos);
}

TEST(VerifyConfig, WrongUseIsAUsageError) {
  EXPECT_EQ(run(verify_config_main, {"verify-config"}).code, 2);
  EXPECT_EQ(run(verify_config_main, {"verify-config", "--what", "x"}).code, 2);
}

TEST(ExplainPath, TellsTheDecisionAndItsRule) {
  const TemporaryFile file(
      R"({"target":"demo","feature":{"fs":{"local":"^/srv/own","mapping":{"^/old":"/srv/own"}}}})");
  const auto explain = [&](const std::string& path) {
    return run(config_main, {"config", "explain-path", "-f", file.path(), path}).out;
  };
  EXPECT_EQ(explain("/srv/data"), "reading: remote\nwriting: local\nfile mode: read\n");
  EXPECT_EQ(explain("/srv/own/x"),
            "reading: local\nwriting: local\nfile mode: read\n"
            "  matches feature.fs.local: ^/srv/own\n");
  EXPECT_EQ(explain("/old/x"),
            "mapped to: /srv/own/x\nreading: local\nwriting: local\nfile mode: read\n"
            "  matches feature.fs.local: ^/srv/own\n");
  EXPECT_EQ(explain("/etc/hosts"),
            "reading: remote\nwriting: local\nfile mode: read\n"
            "  matches built-in remote list: ^/etc/hosts$\n"
            "  matches built-in local list: ^/etc(/|$)\n");
  EXPECT_EQ(explain("data"),
            "reading: local\nwriting: local\nfile mode: read; a relative path is never remote\n");
}

TEST(ExplainAddress, TellsTheDecisionAndItsFilter) {
  const TemporaryFile file(
      R"({"feature":{"network":{"outgoing":{"filter":{"local":["10.0.0.0/8","a.example"]}}}}})");
  const auto explain = [&](const std::string& address) {
    return run(config_main, {"config", "explain-address", "-f", file.path(), address}).out;
  };
  EXPECT_EQ(explain("tcp://10.1.2.3:80"), "TCP: local (matches `10.0.0.0/8`)\n");
  EXPECT_EQ(explain("udp://1.2.3.4:53"), "UDP: remote (not in the filter's local list)\n");
  EXPECT_EQ(explain("tcp://a.example:1"),
            "look-up: local (matches `a.example`)\nTCP: local (matches `a.example`)\n");
}

TEST(ConfigKeys, AreListedWithTheirSources) {
  const std::string out = run(config_main, {"config", "keys"}).out;
  EXPECT_NE(out.find("feature.fs.mode  (string)  default read  env MIRRORD_FILE_MODE  flag "
                     "--fs-mode  one of local|localwithoverrides|read|write\n"),
            std::string::npos);
  EXPECT_EQ(out.find("feature.db_branches[].id"), std::string::npos) << "operator only";
}

TEST(ConfigCommand, WithoutWordsIsAUsageError) {
  EXPECT_EQ(run(config_main, {"config"}).code, 2);
  EXPECT_EQ(run(config_main, {"config", "--help"}).code, 0);
  EXPECT_EQ(run(config_main, {"config", "explain-path"}).code, 2);
}

}  // namespace
}  // namespace mirrord
