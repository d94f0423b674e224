// tests/unit/config/automaton_test.cpp — the compiled table against PCRE2, and its limits.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <random>

#include "applets/config/path_automaton.h"
#include "applets/config/path_mapping.h"
#include "applets/config/path_rules.h"

namespace mirrord::config {
namespace {

using local::Decision;

bool table_matches(const std::string& pattern, const std::string& text, LetterCase letter_case) {
  const std::vector<PathRule> rules = {{pattern, RuleGroup::kReadWrite}};
  const auto table = compile_paths(rules, FileMode::kLocalWithOverrides, letter_case);
  EXPECT_TRUE(table.has_value()) << pattern << ": " << (table ? "" : table.error().what);
  return table && local::read_decision(evaluate_path(*table, text)) == Decision::kRemote;
}

// PCRE2 decides for the same pattern; \z because its `$` also matches before a last line break.
bool reference_matches(const std::string& pattern, const std::string& text) {
  auto compiled = NamePattern::create("(?i)(?:" + pattern + ")");
  EXPECT_TRUE(compiled.has_value()) << pattern;
  return compiled && compiled->matches(text);
}

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  unsigned below(unsigned limit) { return static_cast<unsigned>(engine_() % limit); }

  // A pattern of the grammar that both engines read alike (ASCII only).
  std::string pattern(int depth) {
    std::string out;
    const unsigned parts = 1 + below(4);
    for (unsigned i = 0; i < parts; ++i) {
      const std::string part = atom(depth);
      out += part;
      const bool is_assertion = part == "^" || part == "\\z" || part == "\\b" || part == "\\B";
      if (!is_assertion && below(4) == 0) {
        static constexpr const char* kRepeats[] = {"*", "+", "?", "{2}", "{1,3}", "{2,}", "*?"};
        out += kRepeats[below(7)];
      }
    }
    return depth > 0 && below(4) == 0 ? out + "|" + pattern(depth - 1) : out;
  }

  std::string text() {
    static constexpr std::string_view kLetters = "aAbB/._-c0 é";
    std::string out = below(4) == 0 ? "" : "/";
    for (unsigned i = below(12); i > 0; --i) {
      const unsigned at = below(12);
      out += at == 11 ? std::string("é") : std::string(1, kLetters[at]);
    }
    return out;
  }

 private:
  std::string atom(int depth) {
    static constexpr const char* kAtoms[] = {
        "a",       "b",       "/",           "\\.", ".",     "[ab]", "[^/]",   "[a-c]",
        "[^a-b]",  "\\d",     "c",           "A",   "_",     "-",    "[/._-]", "[^.]",
        "(?:^|/)", "(?:/|$)", "[[:alpha:]]", "é",   "\\x61", "^",    "\\z"};
    if (depth > 0 && below(5) == 0)
      return "(" + pattern(depth - 1) + ")";
    if (below(40) == 0)
      return below(2) == 0 ? "\\b" : "\\B";
    return kAtoms[below(std::size(kAtoms))];
  }

  std::mt19937 engine_;
};

// `(^)*` and the like are errors in neither engine, but `\B`/`\b` next to é differ by design.
bool has_word_edge(const std::string& pattern) {
  return pattern.find("\\b") != std::string::npos || pattern.find("\\B") != std::string::npos;
}

TEST(PathAutomaton, AgreesWithPcre2OnRandomPatterns) {
  Random random(20240607);
  int compared = 0;
  int matched = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string pattern = random.pattern(2);
    // An end that PCRE2 takes literally: no line break before it.
    for (std::size_t at = 0; (at = pattern.find("$", at)) != std::string::npos; at += 2)
      pattern.replace(at, 1, "\\z");
    for (int j = 0; j < 12; ++j) {
      const std::string text = random.text();
      if (has_word_edge(pattern) && text.find("\xC3") != std::string::npos)
        continue;
      const bool expected = reference_matches(pattern, text);
      ASSERT_EQ(table_matches(pattern, text, LetterCase::kFold), expected)
          << "pattern " << pattern << " text " << text;
      ++compared;
      matched += expected ? 1 : 0;
    }
  }
  EXPECT_GT(compared, 25'000);
  EXPECT_GT(matched, compared / 10);
  EXPECT_LT(matched, compared * 9 / 10);
}

TEST(PathAutomaton, CombinedTableGivesWhatEachGroupSays) {
  Random random(7);
  constexpr FileMode kModes[] = {FileMode::kLocal, FileMode::kLocalWithOverrides, FileMode::kRead,
                                 FileMode::kWrite};
  for (int i = 0; i < 300; ++i) {
    std::vector<PathRule> rules;
    for (unsigned group = 0; group < kGroupCount; ++group) {
      for (unsigned count = random.below(3); count > 0; --count) {
        std::string pattern = random.pattern(1);
        for (std::size_t at = 0; (at = pattern.find("$", at)) != std::string::npos; at += 2)
          pattern.replace(at, 1, "\\z");
        if (!has_word_edge(pattern))
          rules.push_back({pattern, static_cast<RuleGroup>(group)});
      }
    }
    const FileMode mode = kModes[random.below(4)];
    const auto table = compile_paths(rules, mode, LetterCase::kFold);
    ASSERT_TRUE(table.has_value()) << table.error().what;
    for (int j = 0; j < 20; ++j) {
      const std::string text = random.text();
      GroupMask matched = 0;
      for (const PathRule& rule : rules) {
        if (reference_matches(rule.pattern, text))
          matched |= group_bit(rule.group);
      }
      const uint8_t expected = outcome_of(matched, mode);
      const uint8_t actual = evaluate_path(*table, text);
      if (mode == FileMode::kLocal)
        ASSERT_EQ(actual, 0);
      else
        ASSERT_EQ(actual, expected) << text;
    }
  }
}

TEST(PathAutomaton, LettersFoldBeyondAsciiAndKeepTheirCaseOnRequest) {
  EXPECT_TRUE(table_matches("^/É", "/é", LetterCase::kFold));
  EXPECT_TRUE(table_matches("^/ж$", "/Ж", LetterCase::kFold));
  EXPECT_TRUE(table_matches("^/σ", "/Σ", LetterCase::kFold));
  EXPECT_FALSE(table_matches("^/A", "/a", LetterCase::kExact));
  EXPECT_TRUE(table_matches("^/A", "/A", LetterCase::kExact));
  EXPECT_TRUE(table_matches("(?-i)^/A", "/A", LetterCase::kFold));
  EXPECT_FALSE(table_matches("(?-i)^/A", "/a", LetterCase::kFold));
}

TEST(PathAutomaton, ACharacterIsOneWhateverItsLength) {
  EXPECT_TRUE(table_matches("^/.$", "/é", LetterCase::kFold));
  EXPECT_TRUE(table_matches("^/.$", "/\xF0\x9F\x98\x80", LetterCase::kFold));
  EXPECT_FALSE(table_matches("^/..$", "/é", LetterCase::kFold));
  EXPECT_TRUE(table_matches("^/[^a]$", "/€", LetterCase::kFold));
  EXPECT_TRUE(table_matches("^/[à-ü]$", "/é", LetterCase::kFold));
  EXPECT_TRUE(table_matches("^/\\u00e9\\x{20AC}$", "/é€", LetterCase::kFold));
}

TEST(PathAutomaton, NamesThatAreNotUtf8StillMatchByTheirOtherBytes) {
  EXPECT_TRUE(table_matches("^/data(/|$)", "/data/caf\xE9", LetterCase::kFold));
  EXPECT_TRUE(table_matches("\\.txt$", "/x/\xFF\xFE.txt", LetterCase::kFold));
  EXPECT_TRUE(table_matches("^" + quote_pattern("/caf\xE9"), "/caf\xE9/x", LetterCase::kFold));
}

TEST(PathAutomaton, QuotedTextMatchesItselfOnly) {
  const std::string text = "/a.b*c[d](e){f}|g^h$i\\j+k?l-m~n&o#p";
  EXPECT_TRUE(table_matches("^" + quote_pattern(text) + "$", text, LetterCase::kFold));
  EXPECT_FALSE(table_matches("^" + quote_pattern("/a.b") + "$", "/axb", LetterCase::kFold));
}

TEST(PathAutomaton, ExplosionsEndInAClearError) {
  const std::vector<PathRule> wide = {{"a.{14}b.{14}c", RuleGroup::kReadWrite}};
  const auto table = compile_paths(wide, FileMode::kRead, LetterCase::kFold);
  ASSERT_FALSE(table.has_value());
  EXPECT_NE(table.error().what.find("too complex"), std::string::npos);
  const std::vector<PathRule> large = {{"(x{1000}){1000}", RuleGroup::kReadWrite}};
  const auto second = compile_paths(large, FileMode::kRead, LetterCase::kFold);
  ASSERT_FALSE(second.has_value());
  EXPECT_NE(second.error().what.find("too large"), std::string::npos);
}

TEST(PathAutomaton, BuiltInListsCompileQuicklyIntoASmallTable) {
  PathContext context;
  context.home = "/home/someone";
  context.working_directory = "/home/someone/work/project";
  context.executables = {"/usr/bin/python3.11"};
  const std::vector<PathRule> rules = path_rules(FileRules{}, context);
  const auto begin = std::chrono::steady_clock::now();
  const auto table = compile_paths(rules, FileMode::kRead, LetterCase::kFold);
  const auto took = std::chrono::steady_clock::now() - begin;
  ASSERT_TRUE(table.has_value());
  local::PathAutomaton header;
  std::memcpy(&header, table->data(), sizeof header);
  RecordProperty("states", static_cast<int>(header.state_count));
  RecordProperty("classes", static_cast<int>(header.class_count));
  RecordProperty("microseconds", static_cast<int>(took / std::chrono::microseconds(1)));
  EXPECT_LT(table->size(), 512U * 1024);
  EXPECT_LT(header.state_count, 3000U);
}

}  // namespace
}  // namespace mirrord::config
