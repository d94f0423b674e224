// tests/unit/net/regex_test.cpp — the dialect of regular expressions, what is refused, and the bounds.
#include "net/query/regex.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

using namespace mirrord;
using namespace mirrord::net;

namespace {

bool found(std::string_view expression, std::string_view text, RegexCase letter_case) {
  auto regex = Regex::compile(expression, letter_case);
  if (!regex) {
    ADD_FAILURE() << regex.error().what;
    return false;
  }
  Effort effort(std::chrono::seconds(5));
  const bool result = regex->search(text, effort);
  EXPECT_FALSE(effort.was_spent()) << expression;
  return result;
}

struct Sample {
  std::string_view expression, text;
  bool matches;
};

void check(std::initializer_list<Sample> samples, RegexCase letter_case = RegexCase::kExact) {
  for (const auto& [expression, text, matches] : samples)
    EXPECT_EQ(found(expression, text, letter_case), matches) << expression << " on " << text;
}

}  // namespace

TEST(Regex, SearchesAnywhere) {
  check({{"b+", "abbc", true},
         {"^b", "abbc", false},
         {"", "", true},
         {"a|", "x", true},
         {"c$", "abc", true},
         {"c$", "abc\n", false},
         {"(?m)c$", "abc\n", true},
         {"a.c", "a\nc", false},
         {"(?s)a.c", "a\nc", true},
         {"a.c", "a\rc", true},
         {"(?m)^b", "a\rb", false}});
}

TEST(Regex, LetterCase) {
  check({{"^X-Header: VALUE$", "x-header: value", true},
         {"(?-i)X", "x", false},
         {"(?-i:X)x", "XX", true},
         {"straße", "STRAßE", true},
         {"[^a]", "A", false},
         {"(?i:é)", "É", true}},
        RegexCase::kFold);
  check({{"a(?i)b|c", "aB", true}, {"a(?i)b|c", "C", true}, {"a(?i:b)c", "aBC", false}});
}

TEST(Regex, LooksAroundAndBack) {
  check({{"(?<=user: )bob(?!by)", "user: bob", true},
         {"(?<=user: )bob(?!by)", "user: bobby", false},
         {"(?<!x)y", "xy", false},
         {R"((\w+) \1)", "hello hello", true},
         {R"((\w+) \1$)", "hello hell", false},
         {R"((?P<n>a|b)-(?P=n))", "b-b", true},
         {R"((?<n>a|b)-\k<n>)", "a-b", false},
         {R"((a)(b)\k<-1>)", "abb", true},
         {R"((a)|b\1)", "b", false},
         {"a++b", "aaab", true},
         {"a++ab", "aaab", false},
         {"(?>a|ab)c", "abc", false},
         {"(a)?(?(1)b|c)", "ab", true},
         {"^(?:(a))?(?(1)b|c)$", "b", false},
         {"^(?<q>a)?(?(<q>)b|c)$", "c", true},
         {"^(a)?(?(1))$", "", false},
         {R"(foo\Kbar)", "foobar", true},
         {"^(?(?=a)a.|b)$", "ax", true}});
}

TEST(Regex, UnicodeClasses) {
  check({{R"(^\w+$)", "é", true},
         {R"(^\w+$)", "a\u0301", true},  // a combining mark is part of a word
         {R"(^\d$)", "\u0663", true},
         {R"(^\D$)", "\u0663", false},
         {R"(^\s$)", "\u3000", true},
         {R"(^\S$)", "\u00a0", false},
         {R"(\bé\b)", "x é y", true},
         {R"(\bb)", "éb", false},
         {R"(\Bb)", "éb", true},
         {R"(\<b\>)", "a b c", true},
         {R"(\b{start}b\b{end})", "ab", false},
         {R"(b\b{end-half})", "ab", true},
         {R"(^\pL\p{Lu}\p{Letter}\p{uppercase letter}$)", "aBcD", true},
         {R"(^\p{Greek}$)", "λ", true},
         {R"(^\p{Script=Greek}\p{sc!=Greek}$)", "λx", true},
         {R"(^\P{Greek}$)", "λ", false},
         {R"(^\p{Alphabetic}\p{ASCII}\P{ascii}$)", "xyλ", true},
         {R"(^[[:alpha:]]$)", "é", false},
         {R"(^\h\H$)", "fg", true},
         {R"(^\x41\x{42}\u0043\U00000044\e$)", "ABCD\x1b", true},
         {R"(^\v$)", "\x0b", true},
         {R"(^\v$)", "\n", false}});
}

TEST(Regex, SetsOfCharacters) {
  check({{"^[a-c[x-z]]+$", "axz", true},
         {"^[a-z&&[^aeiou]]+$", "bcd", true},
         {"^[a-z&&[^aeiou]]+$", "bad", false},
         {"^[a-z--[aeiou]]+$", "bad", false},
         {"^[a-g~~b-j]+$", "ahi", true},
         {"^[a-g~~b-j]+$", "b", false},
         {R"(^[\w--\d]+$)", "ab", true},
         {R"(^[\w--\d]+$)", "a1", false},
         {R"(^[^\w--\d]$)", "1", true},
         {R"(^[\W\d]+$)", "1 -", true},
         {R"(^[^\W\d]+$)", "ab", true},
         {R"(^[^\W\d]+$)", "a1", false},
         {"^[]a]+$", "a]", true},
         {"^[^]a]$", "]", false},
         {"^[-a]+$", "a-", true},
         {"^[a-]+$", "a-", true},
         {R"(^[\]\-\\^.]+$)", R"(]-\^.)", true},
         {"[a&&b]", "ab", false},
         {R"(^[\h\p{Lu}]+$)", "fG", true}});
  check({{"^[a-z&&[^AEIOU]]+$", "BAD", false}, {"^[a-z&&[^AEIOU]]+$", "BCD", true}},
        RegexCase::kFold);
}

TEST(Regex, RepetitionsAndLiterals) {
  check({{"^a{2}$", "aa", true},
         {"^a{,2}$", "aaa", false},
         {"^a{2,}$", "aaa", true},
         {"^a{2,3}?$", "aaa", true},
         {"^{\"k\": 1}$", "{\"k\": 1}", true},
         {"^a{x}$", "a{x}", true},
         {"^a]}$", "a]}", true},
         {R"(^a\ b\#\-\/$)", "a b#-/", true},
         {"(?x) ^ a b # comment\n c $", "abc", true},
         {"(?x) [ ] ", "a b", true},
         {"a(?#comment)b", "ab", true},
         {"^(?U)a+", "aaa", true}});
}

TEST(Regex, RefusesByNameAndPlace) {
  constexpr std::pair<std::string_view, std::string_view> kBad[] = {
      {"ab(", "character 4: a `(` without"},
      {"a)", "character 2: a `)` without"},
      {"[a", "a `[` without"},
      {"*a", "character 1: nothing stands before `*`"},
      {"a|*", "nothing stands before `*`"},
      {"a**", "repetition of a repetition"},
      {"(?-u)a", "`(?-u)`"},
      {"(?R)a", "flag R"},
      {"(?i-", "not understood"},
      {R"((a)\g<1>)", "subroutine call"},
      {"(?&n)", "subroutine call"},
      {"(?|a|b)", "branch reset"},
      {"(?~a)", "absent group"},
      {"(*FAIL)", "control verb"},
      {"(?(ab)c|d)", "a condition other than"},
      {R"(\Qa)", "unknown escape `\\Q`"},
      {R"(a\)", "a backslash at the end"},
      {R"(\p{Nonsense})", "unknown Unicode property `Nonsense`"},
      {"[[:nonsense:]]", "unknown class"},
      {R"([a-\d])", "a range whose end"},
      {"[b-a]", "ends before it begins"},
      {"a{3,2}", "whose end is before"},
      {R"(\1)", "character 2: reference to non-existent subpattern"},
      {R"(\k<none>)", "no group is named `none`"},
      {"(?<n>a)(?<n>b)", "a second group named `n`"},
      {R"(\x{110000})", "no character's number"},
      {"(?<=a+)b", "lookbehind"},
      {"\xff", "not UTF-8"},
  };
  for (const auto& [expression, why] : kBad) {
    const auto regex = Regex::compile(expression, RegexCase::kFold);
    ASSERT_FALSE(regex) << expression;
    EXPECT_NE(regex.error().what.find(why), std::string::npos) << regex.error().what;
  }
  EXPECT_FALSE(Regex::compile(std::string(Regex::kLongest + 1, 'a'), RegexCase::kExact));
  EXPECT_FALSE(Regex::compile(std::string(5000, '('), RegexCase::kExact));
  EXPECT_FALSE(Regex::compile("((((a{1000}){1000}){1000}){1000})", RegexCase::kExact));
}

TEST(Regex, TextNeedNotBeUtf8) {
  check({{"b$",
          "a\xff\xfe\x80"
          "b",
          true},
         {"λ", std::string_view("\xce", 1), false}});
  const std::string long_text = std::string(5000, '\x80') + "needle";
  EXPECT_TRUE(found("needle", long_text, RegexCase::kExact));
}

TEST(Regex, LongTextsAreSearchedToTheirEnd) {
  std::string text(60'000, 'x');
  EXPECT_FALSE(found("x-user: me", text, RegexCase::kFold));
  EXPECT_FALSE(found("^.*y", text, RegexCase::kFold));
  text += "é X-User: me";
  EXPECT_TRUE(found("x-user: me", text, RegexCase::kFold));
  EXPECT_TRUE(found("^x+.*user", text, RegexCase::kFold));
}

TEST(Regex, CatastrophicExpressionsAreGivenUp) {
  const std::string text(40'000, 'a');
  for (const std::string_view expression :
       {"(a+)+$x", "^(a|a)*$b", "(a*)*b", R"((a+)\1+\1+b)", "(?=(a+)+b)c", "(x+x+)+y|a*a*a*a*b"}) {
    const auto regex = Regex::compile(expression, RegexCase::kFold);
    ASSERT_TRUE(regex) << regex.error().what;
    Effort effort(std::chrono::milliseconds(20));
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_FALSE(regex->search(text, effort)) << expression;
    EXPECT_TRUE(effort.was_spent()) << expression;
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10)) << expression;
  }
}
