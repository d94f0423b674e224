// tests/unit/config/toml_test.cpp — configuration files in TOML.
#include "applets/config/toml.h"

#include <gtest/gtest.h>

#include "tests/unit/config/support.h"

namespace mirrord::config {
namespace {

// The tree in one line: objects in {}, lists in [], strings in quotes.
std::string shown(const Node& node) {
  std::string out;
  switch (node.type) {
    case Node::Type::kNull:
      return "null";
    case Node::Type::kBool:
      return node.boolean ? "true" : "false";
    case Node::Type::kNumber:
      return node.text;
    case Node::Type::kString:
      return "'" + node.text + "'";
    case Node::Type::kArray:
      for (const Node& item : node.items)
        out += (out.empty() ? "" : ",") + shown(item);
      return "[" + out + "]";
    case Node::Type::kObject:
      for (const Node::Member& member : node.members)
        out += (out.empty() ? "" : ",") + member.key + ":" + shown(member.value);
      return "{" + out + "}";
  }
  return out;
}

std::string parsed(const std::string& text) {
  const auto node = parse_toml(text, "f");
  return node ? shown(*node) : node.error().what;
}

TEST(Toml, ValuesOfEveryKind) {
  EXPECT_EQ(parsed(""), "{}");
  EXPECT_EQ(parsed("# note\r\n\r\na = 1 # one\r\nb = true\nc=false"), "{a:1,b:true,c:false}");
  EXPECT_EQ(parsed("a = \"x\\ty\\u00e9\\\\\"\nb = 'c:\\d'"), "{a:'x\ty\xC3\xA9\\',b:'c:\\d'}");
  EXPECT_EQ(parsed("a = \"\"\"\none\ntwo \\\n   three\"\"\"\nb='''x'y'''"),
            "{a:'one\ntwo three',b:'x'y'}");
  EXPECT_EQ(parsed("a = [1, 2,\n  # note\n  3,\n]\nb = []\nc = [['x'], [\"y\"]]"),
            "{a:[1,2,3],b:[],c:[['x'],['y']]}");
  EXPECT_EQ(parsed("a = { b = 1, c.d = 'x' }\ne = {}"), "{a:{b:1,c:{d:'x'}},e:{}}");
  EXPECT_EQ(parsed("a = 128_000\nb = -5\nc = +7"), "{a:128000,b:-5,c:7}");
}

TEST(Toml, TablesAndDottedKeys) {
  EXPECT_EQ(parsed("x = 1\n[a]\nb = 1\n[a.c]\nd = 2\n[e.f]\n"), "{x:1,a:{b:1,c:{d:2}},e:{f:{}}}");
  EXPECT_EQ(parsed("a.b.c = 1\na.b.d = 2\n\"q r\".'s' = 3"), "{a:{b:{c:1,d:2}},q r:{s:3}}");
  EXPECT_EQ(parsed("[a.b]\nx=1\n[a]\ny=2"), "{a:{b:{x:1},y:2}}");
  EXPECT_EQ(parsed("[[a.b]]\nx=1\n[a.b.c]\ny=2\n[[a.b]]\nx=3\n[a.b.c]\ny=4"),
            "{a:{b:[{x:1,c:{y:2}},{x:3,c:{y:4}}]}}");
}

TEST(Toml, ErrorsNameThePlace) {
  const std::pair<const char*, const char*> cases[] = {
      {"a", "f:1:2: not valid TOML: expected `=` after the key, found the end of the file"},
      {"a =",
       "f:1:4: not valid TOML: expected a value: a string, number, list, table, true or false, "
       "found the end of the file"},
      {"a = yes",
       "f:1:5: not valid TOML: expected a value: a string, number, list, table, true or false, "
       "found `yes`"},
      {"a = 1 b = 2", "f:1:7: not valid TOML: expected the end of the line, found `b`"},
      {"a = 1\na = 2", "f:2:1: not valid TOML: the key `a` stands here a second time"},
      {"[a]\n[a]", "f:2:1: not valid TOML: this table stands here a second time"},
      {"a = 1\n[a]", "f:2:2: not valid TOML: `a` is not a table"},
      {"a = 'x", "f:1:5: not valid TOML: a string without its closing quote"},
      {"a = \"x\ny\"", "f:1:5: not valid TOML: a string without its closing quote"},
      {"a = \"\\d\"", "f:1:6: not valid TOML: an unknown escape"},
      {"a = [1 2]", "f:1:8: not valid TOML: expected a comma or `]`, found `2`"},
      {"a = {b = 1", "f:1:11: not valid TOML: expected a comma or `}`, found the end of the file"},
      {"[a", "f:1:3: not valid TOML: expected `]`, found the end of the file"},
      {"= 1", "f:1:1: not valid TOML: expected a key, found `=`"},
      {"a = 2024-01-01",
       "f:1:5: not valid TOML: expected a value: a string, number, list, table, true or false, "
       "found `2024-01-01`"},
  };
  for (const auto& [text, expected] : cases)
    EXPECT_EQ(parsed(text), expected) << text;
}

TEST(Toml, IsHeldAgainstTheSameTable) {
  const Loading loading;
  const TemporaryFile good(
      "target = 'process/7'\n[feature.fs]\nmode = 'write'\nlocal = ['^/a']\n"
      "[feature.env.override]\nA = '1'\n",
      ".toml");
  const auto config = loading.load_file(good.path());
  ASSERT_TRUE(config.has_value()) << config.error()[0].what;
  EXPECT_EQ(config->target.pid, 7);
  EXPECT_EQ(config->files.mode, FileMode::kWrite);
  EXPECT_EQ(config->environment.override_values, (StringPairs{{"A", "1"}}));

  const TemporaryFile wrong("[feature.fs]\n  mod = 'write'\n", ".toml");
  const auto errors = loading.load_file(wrong.path());
  ASSERT_FALSE(errors.has_value());
  EXPECT_EQ(errors.error()[0].what, wrong.path() + ":2:3: `feature.fs.mod`: unknown key");
}

}  // namespace
}  // namespace mirrord::config
