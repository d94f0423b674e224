// tests/unit/net/yaml_test.cpp — values of YAML texts, their places, and the bounds on them.
#include "net/yaml.h"

#include <gtest/gtest.h>

namespace mirrord::net {
namespace {

// The tree in one line: mappings in {}, sequences in [], strings in quotes.
std::string shown(const YamlNode& node) {
  std::string out;
  switch (node.type) {
    case YamlNode::Type::kNull:
      return "null";
    case YamlNode::Type::kBool:
      return node.boolean ? "true" : "false";
    case YamlNode::Type::kNumber:
      return node.text;
    case YamlNode::Type::kString:
      return "'" + node.text + "'";
    case YamlNode::Type::kSequence:
      for (const YamlNode& item : node.items)
        out += (out.empty() ? "" : ",") + shown(item);
      return "[" + out + "]";
    case YamlNode::Type::kMapping:
      for (const YamlNode::Member& member : node.members)
        out += (out.empty() ? "" : ",") + member.key + ":" + shown(member.value);
      return "{" + out + "}";
  }
  return out;
}

std::string parsed(const std::string& text) {
  const auto documents = parse_yaml(text, "f");
  if (!documents)
    return documents.error().what;
  std::string out;
  for (const YamlNode& document : *documents)
    out += (out.empty() ? "" : " --- ") + shown(document);
  return out;
}

TEST(Yaml, ScalarsHaveTheTypesOfTheCoreSchema) {
  const std::pair<const char*, const char*> cases[] = {
      {"[null, ~, Null, NULL, '', \"~\"]", "[null,null,null,null,'','~']"},
      {"[true, True, FALSE, yes, no, on, 'true', !!str true]",
       "[true,true,false,'yes','no','on','true','true']"},
      {"[0, 12, -5, +7, 012, 0x1F, 0o17, 0b1]", "[0,12,-5,7,12,31,15,'0b1']"},
      {"[1.5, -.5, 1., 1e3, 1.5E-3, ., 1e, 1.2.3, 0x]",
       "[1.5,-0.5,1,1e3,1.5E-3,'.','1e','1.2.3','0x']"},
      {"[.inf, .nan, 2024-05-06, 12:30, 1_000]", "['.inf','.nan','2024-05-06','12:30','1_000']"},
      {"a:", "{a:null}"},
  };
  for (const auto& [text, expected] : cases)
    EXPECT_EQ(parsed(text), expected) << text;
}

TEST(Yaml, StringsOfEveryForm) {
  EXPECT_EQ(parsed("a: |\n  one\n  two\nb: >-\n  one\n  two\nc: \"x\\ty\\u00e9\"\nd: 'it''s'\n"),
            "{a:'one\ntwo\n',b:'one two',c:'x\ty\xC3\xA9',d:'it's'}");
  EXPECT_EQ(parsed("{\"a\": [1, {\"b\": \"c\"}]}"), "{a:[1,{b:'c'}]}");  // JSON is YAML
}

TEST(Yaml, AnchorsAliasesAndMergeKeys) {
  EXPECT_EQ(parsed("a: &x {b: 1}\nc: *x\nd: [*x, &y z, *y]"),
            "{a:{b:1},c:{b:1},d:[{b:1},'z','z']}");
  EXPECT_EQ(parsed("base: &x {a: 1, b: 2}\nmore:\n  <<: *x\n  b: 3\n"),
            "{base:{a:1,b:2},more:{b:3,a:1}}");
  EXPECT_EQ(parsed("- &x {a: 1}\n- &y {a: 2, b: 2}\n- <<: [*x, *y]\n"),
            "[{a:1},{a:2,b:2},{a:1,b:2}]");
  EXPECT_EQ(parsed("a: *x"),
            "f:1:4: not valid YAML: the alias `*x` has no anchor that ends before it");
  EXPECT_EQ(parsed("<<: 1"), "f:1:5: not valid YAML: `<<` takes mappings only");
}

TEST(Yaml, SeveralDocuments) {
  EXPECT_EQ(parsed(""), "");
  EXPECT_EQ(parsed("---\na: 1\n---\n- 2\n...\n"), "{a:1} --- [2]");
  EXPECT_EQ(parsed("a: &x 1\n---\nb: *x\n"),
            "f:3:4: not valid YAML: the alias `*x` has no anchor that ends before it");
}

TEST(Yaml, PlacesAreBytes) {
  const std::string text = "# \xC3\xA9\n\xC3\xA9: x\nb: {\xE2\x82\xAC: 1, c: 2}\r\nd: 3\n";
  const auto documents = parse_yaml(text, "f");
  ASSERT_TRUE(documents.has_value()) << documents.error().what;
  const YamlNode& root = documents->front();
  ASSERT_EQ(root.members.size(), 3U);
  EXPECT_EQ(root.members[1].offset, text.find("b:"));
  EXPECT_EQ(root.members[1].value.members[1].offset, text.find("c:"));
  EXPECT_EQ(root.members[1].value.members[1].value.offset, text.find("2}"));
  EXPECT_EQ(root.members[2].offset, text.find("d:"));
}

TEST(Yaml, ErrorsNameThePlace) {
  const std::pair<const char*, const char*> cases[] = {
      {"a: 1\na: 2", "f:2:1: not valid YAML: the key `a` stands here a second time"},
      {"? [a]\n: 1", "f:1:3: not valid YAML: a key must be a text"},
      {"a: [1",
       "f:1:4: not valid YAML: a `[` is not closed, or a comma or quote is missing after it"},
      {"a: 'x", "f:1:4: not valid YAML: a string without its closing quote"},
      {"a:\n\t- b", "f:2:1: not valid YAML: a tab in the indentation; use blanks"},
      {"a: b: c",
       "f:1:5: not valid YAML: a colon cannot stand here; check the indentation, or put the text "
       "in quotes"},
      {"a: \xFF", "f:1:4: not valid YAML: invalid leading UTF-8 octet"},
  };
  for (const auto& [text, expected] : cases)
    EXPECT_EQ(parsed(text), expected) << text;
}

TEST(Yaml, AliasesCannotStandForMoreThanIsBearable) {
  std::string laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string alias = "*a" + std::to_string(i - 1);
    laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + alias;
    for (int k = 0; k < 9; ++k)
      laughs += "," + alias;
    laughs += "]\n";
  }
  EXPECT_NE(parsed(laughs).find("it stands for too many values"), std::string::npos);

  std::string nested;
  for (int i = 0; i < 90; ++i)
    nested += "&n" + std::to_string(i) + " [";
  std::string wide(90, ']');
  std::string many = nested + "x";
  for (int i = 0; i < 5'000; ++i)
    many += ",x";
  EXPECT_NE(parsed(many + wide).find("it stands for too many values"), std::string::npos);
}

TEST(Yaml, DepthIsBounded) {
  const std::string deep = std::string(200, '[') + std::string(200, ']');
  EXPECT_NE(parsed(deep).find("nested too deeply"), std::string::npos);
  std::string by_aliases = "- &a0 " + std::string(60, '[') + std::string(60, ']') + "\n- " +
                           std::string(60, '[') + "*a0" + std::string(60, ']') + "\n";
  EXPECT_NE(parsed(by_aliases).find("nested too deeply"), std::string::npos);
}

TEST(Yaml, TextsOfOtherEncodings) {
  EXPECT_EQ(to_utf8("\xEF\xBB\xBF"
                    "a",
                    "f")
                .value(),
            "a");
  EXPECT_EQ(to_utf8(std::string("\xFF\xFE"
                                "a\0\xE9\0\x3D\xD8\x00\xDE",
                                10),
                    "f")
                .value(),
            "a\xC3\xA9\xF0\x9F\x98\x80");
  EXPECT_EQ(to_utf8(std::string("\xFE\xFF\0a\0\n", 6), "f").value(), "a\n");
  EXPECT_EQ(to_utf8(std::string("\xFE\xFF\0", 3), "f").error().what,
            "f: not valid UTF-16 at byte 2");
  EXPECT_EQ(to_utf8(std::string("\xFF\xFE\x00\xDC", 4), "f").error().what,
            "f: not valid UTF-16 at byte 2");
}

}  // namespace
}  // namespace mirrord::net
