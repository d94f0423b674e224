// tests/unit/agent/environment_test.cpp — environment entries, patterns and exclusions.
#include "applets/agent/environment.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "proto/text.h"

namespace mirrord::agent {
namespace {

using Names = std::vector<std::string>;

Names selected_names(const Environment& environment, const Names& filter, const Names& select) {
  Names names;
  for (const auto& [name, value] : environment) {
    if (is_selected(name, filter, select))
      names.push_back(name);
  }
  return names;
}

TEST(AgentEnvironment, OneBadByteLosesOneEntryOnly) {
  Environment environment;
  using namespace std::string_view_literals;
  add_environ(environment, "A=1\0BAD=\xff\xfe\0B=zwei ä\0C=\0noequals\0=noname\0D=x=y"sv);
  EXPECT_EQ(environment, (Environment{{"A", "1"}, {"B", "zwei ä"}, {"C", ""}, {"D", "x=y"}}));
}

TEST(AgentEnvironment, TheProcessWinsOverWhatTheRuntimeDeclares) {
  Environment environment;
  add_entry(environment, "A=declared");
  add_entry(environment, "ONLY_DECLARED=1");
  add_environ(environment, "A=real");
  EXPECT_EQ(environment, (Environment{{"A", "real"}, {"ONLY_DECLARED", "1"}}));
}

TEST(AgentEnvironment, PatternsHaveStarsAndQuestionMarks) {
  EXPECT_TRUE(matches_pattern("DATABASE_URL", "*"));
  EXPECT_TRUE(matches_pattern("DATABASE_URL", "DATA*URL"));
  EXPECT_TRUE(matches_pattern("DATABASE_URL", "*BASE*"));
  EXPECT_TRUE(matches_pattern("DATABASE_URL", "DATABASE?URL"));
  EXPECT_TRUE(matches_pattern("aXbXbc", "a*bc"));
  EXPECT_TRUE(matches_pattern("Straße", "Stra?e"));
  EXPECT_TRUE(matches_pattern("", "*"));
  EXPECT_FALSE(matches_pattern("DATABASE_URL", "database*"));
  EXPECT_FALSE(matches_pattern("DATABASE_URL", "DATABASE_UR"));
  EXPECT_FALSE(matches_pattern("DATABASE_URL", "?"));
  EXPECT_FALSE(matches_pattern("", "?"));
}

TEST(AgentEnvironment, ManyStarsStayFast) {
  const std::string name(4000, 'a');
  std::string pattern;
  for (int i = 0; i < 1000; ++i)
    pattern += "*a";
  pattern += "b";
  EXPECT_FALSE(matches_pattern(name, pattern));
}

TEST(AgentEnvironment, ExclusionWins) {
  const Environment environment{{"APP", "1"}, {"APP_SECRET", "2"}, {"PATH", "/bin"}, {"HOME", "/"}};
  EXPECT_EQ(selected_names(environment, {}, {}), (Names{"APP", "APP_SECRET"}));
  EXPECT_EQ(selected_names(environment, {}, {"PATH", "APP"}), (Names{"APP"}));
  EXPECT_EQ(selected_names(environment, {"*SECRET*"}, {"APP*"}), (Names{"APP"}));
  EXPECT_EQ(selected_names(environment, {"*"}, {"*"}), Names{});
}

TEST(AgentEnvironment, TellsUtf8FromOtherBytes) {
  EXPECT_TRUE(proto::is_utf8("plain"));
  EXPECT_TRUE(proto::is_utf8("ä€😀"));
  for (const char* wrong : {"\x80", "\xc3", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80",
                            "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "ok\xff"})
    EXPECT_FALSE(proto::is_utf8(wrong));
  EXPECT_EQ(to_utf8_lossy("a\xff"
                          "ä\xc3"),
            "a\uFFFDä\uFFFD");
}

}  // namespace
}  // namespace mirrord::agent
