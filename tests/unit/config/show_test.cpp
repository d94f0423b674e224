// tests/unit/config/show_test.cpp — the configuration as it is shown: valid JSON, and no secrets.
#include "applets/config/show.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "applets/config/keys.h"
#include "tests/unit/config/support.h"

namespace mirrord::config {
namespace {

constexpr char kSecret[] = "hunter2";

// "KEY=VALUE" of all that is shown of a text, one a line.
std::string shown(const std::string& text, const std::string& suffix = ".json",
                  std::map<std::string, std::string> environment = {}) {
  const TemporaryFile file(text, suffix);
  LoadRequest request;
  request.file = file.path();
  request.is_target_final = false;
  request.environment = [&](std::string_view name) -> std::optional<std::string> {
    const auto found = environment.find(std::string(name));
    return found == environment.end() ? std::nullopt : std::optional(found->second);
  };
  const auto values = show(request);
  if (!values)
    return "error: " + values.error()[0].what;
  std::string out;
  for (const ShownValue& value : *values) {
    EXPECT_TRUE(parse_json(value.value, value.path).has_value()) << value.path << value.value;
    if (!value.is_default)
      out += std::string(value.path) + "=" + value.value + "\n";
  }
  return out;
}

TEST(Show, HidesSecretsWhereverTheyStand) {
  // A configuration with `hunter2` in one secret place, and what is shown of it.
  const std::pair<std::string, std::string> cases[] = {
      {R"({"feature":{"env":{"override":{"A.B":"hunter2"}}}})",
       "feature.env.override={\"A.B\":\"***\"}\n"},
      {R"({"feature":{"env":{"mapping":{"^A":"hunter2"}}}})",
       "feature.env.mapping={\"^A\":\"***\"}\n"},
      {R"({"feature":{"preview":{"secret_mounts":[{"mount_at":"/a","type":"text","payload":"hunter2"}]}}})",
       "feature.preview.secret_mounts=[{\"mount_at\":\"/"
       "a\",\"type\":\"text\",\"payload\":\"***\"}]\n"},
      {R"({"feature":{"db_branches":[{"type":"pg","connection":{"password":"hunter2","port":1}}]}})",
       "feature.db_branches=[{\"type\":\"pg\",\"connection\":{\"password\":\"***\",\"port\":1}}]"
       "\n"},
      {R"({"feature":{"db_branches":[{"type":"pg","connection":{}},{"type":"pg","connection":{"url":"pg://u:hunter2@db"}}]}})",
       "feature.db_branches=[{\"type\":\"pg\",\"connection\":{}},{\"type\":\"pg\",\"connection\":{"
       "\"url\":\"***\"}}]\n"},
      {R"({"feature":{"db_branches":[{"type":"pg","connection":{"url":{"type":"env","value":"hunter2"}}}]}})",
       "feature.db_branches=[{\"type\":\"pg\",\"connection\":{\"url\":{\"type\":\"***\",\"value\":"
       "\"***\"}}}]\n"},
      {R"({"feature":{"db_branches":[{"type":"pg","connection":{"params":{"password":"hunter2","host":"H"}}}]}})",
       "feature.db_branches=[{\"type\":\"pg\",\"connection\":{\"params\":{\"password\":\"***\","
       "\"host\":\"H\"}}}]"
       "\n"},
      {R"({"feature":{"db_branches":[{"type":"pg","connection":{"params":{"token":[{"variable":"T","value":"hunter2"}]}}}]}})",
       "feature.db_branches=[{\"type\":\"pg\",\"connection\":{\"params\":{\"token\":[{\"variable\":"
       "\"T\",\"value\":"
       "\"***\"}]}}}]\n"},
      {R"({"feature":{"db_branches":[{"type":"pg","connection":{},"connection_settings":{"a":"hunter2"}}]}})",
       "feature.db_branches=[{\"type\":\"pg\",\"connection\":{},\"connection_settings\":{\"a\":\"**"
       "*\"}}]\n"},
      {R"({"feature":{"db_branches":[{"type":"pg","connection":{},"query_params":{"a":"hunter2"}}]}})",
       "feature.db_branches=[{\"type\":\"pg\",\"connection\":{},\"query_params\":{\"a\":\"***\"}}]"
       "\n"},
      {R"({"feature":{"db_branches":[{"type":"pg","connection":{},"env":{"A":"hunter2"}}]}})",
       "feature.db_branches=[{\"type\":\"pg\",\"connection\":{},\"env\":{\"A\":\"***\"}}]\n"},
      {R"({"feature":{"db_branches":[{"type":"pg","name":"n","connection":{},"migrations":{"env":{"A":"hunter2"}}}]}})",
       "feature.db_branches=[{\"type\":\"pg\",\"name\":\"n\",\"connection\":{},\"migrations\":{"
       "\"env\":{\"A\":\"***\"}}}]\n"},
      {R"({"feature":{"db_branches":[{"type":"pg","connection":{},"iam_auth":{"type":"aws_rds","secret_access_key":{"value":"hunter2"}}}]}})",
       "feature.db_branches=[{\"type\":\"pg\",\"connection\":{},\"iam_auth\":{\"type\":\"aws_rds\","
       "\"secret_access_key\":{\"value\":"
       "\"***\"}}}]\n"},
  };
  for (const auto& [text, expected] : cases)
    EXPECT_EQ(shown(text), expected) << text;
}

TEST(Show, HidesTextsOfFlagsAndVariablesForSecrets) {
  int count = 0;
  for (const std::string_view path :
       {"feature.db_branches", "feature.db_branches[].connection.password",
        "feature.db_branches[].connection.params.password", "feature.db_branches[].connection",
        "feature.db_branches[].iam_auth.session_token.value", "feature.db_branches[].iam_auth",
        "feature.env.override", "feature.preview.secret_mounts",
        "feature.preview.secret_mounts[].payload"}) {
    const Key* key = find_key(path);
    ASSERT_NE(key, nullptr) << path;
    EXPECT_EQ(shown_text(*key, kSecret), "\"***\"") << path;
    ++count;
  }
  EXPECT_EQ(count, 9);
  for (const std::string_view path : {"feature.env.include", "feature.db_branches[].name", "key"})
    EXPECT_EQ(shown_text(*find_key(path), "x"), "\"x\"") << path;
}

TEST(Show, OfAnyTextOfAVariableIsJson) {
  for (const Key& key : all_keys()) {
    for (const char* text : {"",
                             "[",
                             "{",
                             "[1,]",
                             "{\"a\":}",
                             "007",
                             "0",
                             "-",
                             "-1",
                             "1e",
                             "true",
                             "truer",
                             "null",
                             "\"",
                             "\\",
                             "a\nb",
                             "\xFF\xFE",
                             "[\"a\"]",
                             "18446744073709551616",
                             "99999999999999999999999"}) {
      const std::string json = shown_text(key, text);
      EXPECT_TRUE(parse_json(json, "").has_value()) << key.path << " " << text << " " << json;
    }
    EXPECT_TRUE(parse_json(shown_text(key, key.default_text), "").has_value()) << key.path;
  }
}

TEST(Show, OfTextsHasTheValuesThatAreUsed) {
  EXPECT_EQ(shown("{}", ".json",
                  {{"MIRRORD_AGENT_TTL", "007"},
                   {"MIRRORD_AGENT_IMAGE", "[1"},
                   {"MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "true"},
                   {"MIRRORD_KEY", "42"}}),
            "agent.image=\"[1\"\nagent.ttl=7\n"
            "feature.network.incoming.mode=\"steal\"\nkey=\"42\"\n");
}

TEST(Show, OfNumbersOfOtherFormatsIsJson) {
  EXPECT_EQ(
      shown("feature:\n  db_branches:\n    - type: pg\n      ttl_secs: 0x1F\n      connection:\n"
            "        params: {x: 007, y: +5, z: .inf, w: 1_0}\n",
            ".yaml"),
      "feature.db_branches=[{\"type\":\"pg\",\"ttl_secs\":31,\"connection\":{\"params\":{\"x\":7,"
      "\"y\":5,"
      "\"z\":\".inf\",\"w\":\"1_0\"}}}]\n");
  EXPECT_EQ(shown("[agent]\nttl = 1_0\n", ".toml"), "agent.ttl=10\n");
}

}  // namespace
}  // namespace mirrord::config
