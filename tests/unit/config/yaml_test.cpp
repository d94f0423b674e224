// tests/unit/config/yaml_test.cpp — configuration files in YAML.
#include "applets/config/yaml.h"

#include <gtest/gtest.h>

#include "tests/unit/config/support.h"

namespace mirrord::config {
namespace {

TEST(YamlConfig, IsHeldAgainstTheSameTable) {
  const Loading loading;
  for (const char* extension : {".yaml", ".yml"}) {
    const TemporaryFile good(
        "# a session\n"
        "target: process/7\n"
        "feature:\n"
        "  fs: {mode: write, local: ['^/a']}\n"
        "  env:\n"
        "    override:\n"
        "      A: '1'\n",
        extension);
    const auto config = loading.load_file(good.path());
    ASSERT_TRUE(config.has_value()) << config.error()[0].what;
    EXPECT_EQ(config->target.pid, 7);
    EXPECT_EQ(config->files.mode, FileMode::kWrite);
    EXPECT_EQ(config->environment.override_values, (StringPairs{{"A", "1"}}));
  }
}

TEST(YamlConfig, ErrorsNameThePlace) {
  const Loading loading;
  const TemporaryFile unknown("feature:\n  fs:\n    mod: write\n", ".yaml");
  const auto errors = loading.load_file(unknown.path());
  ASSERT_FALSE(errors.has_value());
  EXPECT_EQ(errors.error()[0].what, unknown.path() + ":3:5: `feature.fs.mod`: unknown key");

  const TemporaryFile wrong("target: [1\n", ".yaml");
  const auto failed = loading.load_file(wrong.path());
  ASSERT_FALSE(failed.has_value());
  EXPECT_TRUE(failed.error()[0].what.starts_with(wrong.path() + ":1:9: not valid YAML: "))
      << failed.error()[0].what;
}

TEST(YamlConfig, OneDocumentOrNone) {
  EXPECT_EQ(parse_yaml("", "f")->type, Node::Type::kObject);
  EXPECT_EQ(parse_yaml("# only a note\n", "f")->type, Node::Type::kObject);
  const auto two = parse_yaml("a: 1\n---\nb: 2\n", "f");
  ASSERT_FALSE(two.has_value());
  EXPECT_EQ(two.error().what,
            "f:3:1: a configuration is one document, and here a second one begins");
}

}  // namespace
}  // namespace mirrord::config
