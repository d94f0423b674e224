// tests/unit/net/jq_test.cpp — jq programs: what they give, what is refused, and the bounds.
#include "net/query/jq.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

using namespace mirrord;
using namespace mirrord::net;

namespace {

// What the program gives, with blanks between.
std::string run(std::string_view program, std::string_view input = "null") {
  auto compiled = JqProgram::compile(program);
  auto value = JsonValue::parse(input);
  if (!compiled || !value)
    return compiled ? value.error().what : compiled.error().what;
  Effort effort(std::chrono::seconds(5));
  std::string out;
  compiled->run(*value, effort, [&out](const JsonValue& result) {
    out += (out.empty() ? "" : " ") + result.dump();
    return true;
  });
  EXPECT_FALSE(effort.was_spent()) << program;
  return out;
}

}  // namespace

TEST(Jq, Headers) {
  EXPECT_EQ(run(R"(test("^x-user: (alice|bob)$"))", R"("x-user: bob")"), "true");
  EXPECT_EQ(run(R"(test("^X-USER"; "i"))", R"("x-user: bob")"), "true");
  EXPECT_EQ(run(R"(split(": ")[1] == "bob")", R"("x-user: bob")"), "true");
  EXPECT_EQ(run(R"(startswith("x-") and (endswith("bob") | not))", R"("x-user: bob")"), "false");
  EXPECT_EQ(run(R"(ltrimstr("x-user: ") | ascii_upcase)", R"("x-user: bob")"), R"("BOB")");
  // The subject of a JSON Web Token.
  EXPECT_EQ(run(R"(ltrimstr("authorization: Bearer ") | split(".")[1]? // "" |
                   (try (@base64d | fromjson | .sub) catch null) == "me")",
                R"("authorization: Bearer eyJhIjoxfQ.eyJzdWIiOiJtZSJ9.c2ln")"),
            "true");
  EXPECT_EQ(
      run(R"((. / ": ") as $parts | {($parts[0]): $parts[1]} | ."x-user")", R"("x-user: bob")"),
      R"("bob")");
}

TEST(Jq, Paths) {
  constexpr std::string_view kInput = R"({"a": {"b": [1, 2, {"c": 3}]}, "d e": null})";
  EXPECT_EQ(run(".a.b[2].c", kInput), "3");
  EXPECT_EQ(run(R"(.["a"]["b"][-1]."c")", kInput), "3");
  EXPECT_EQ(run(".a.b[:2], .a.b[1:], .a.b[0:1]", kInput), R"([1,2] [2,{"c":3}] [1])");
  EXPECT_EQ(run(".a.b[] | numbers", kInput), "1 2");
  EXPECT_EQ(run(".. | .c?", kInput), "null null 3 null");
  EXPECT_EQ(run(R"(."d e", .none)", kInput), "null null");
  EXPECT_EQ(run(".a | keys, length, has(\"b\")", kInput), R"(["b"] 1 true)");
  EXPECT_EQ(run(".[2:4]", R"("äöüß")"), R"("üß")");
  EXPECT_EQ(run(".a.b.c?, 1", kInput), "1");
  EXPECT_EQ(run("try (.a | .[0]) catch .", kInput), R"("cannot index object with number")");
  EXPECT_EQ(run(".a[0]", kInput), "");
}

TEST(Jq, Operators) {
  EXPECT_EQ(run("1 + 2 * 3 - 4 / 2, 7 % 3, -5 % 3, -(1), 1.5 + 1.5"), "5 1 -2 -1 3");
  EXPECT_EQ(run(R"("a" + "b", [1] + [2], {a: 1} + {b: 2}, null + 1)"),
            R"("ab" [1,2] {"a":1,"b":2} 1)");
  EXPECT_EQ(run("[1, 2, 1] - [1], 1 / 0"), "[2]");
  EXPECT_EQ(run("null < false, false < true, true < 0, 0 < \"\", \"\" < [], [] < {}"),
            "true true true true true true");
  EXPECT_EQ(run("1 == 1.0, [1, 2] < [1, 3], {a: 1} == {a: 1}, 1 != 2, 2 >= 2"),
            "true true true true true");
  EXPECT_EQ(run("null // 1, false // false, (1, null, 2) // 3, empty // 4, error(\"x\") // 5"),
            "1 false 1 2 4 5");
  EXPECT_EQ(run("true and (true, false), false and error, true or error, null or false"),
            "true false false true false");
  EXPECT_EQ(run("if . then 1 elif 1 == 1 then 2 else 3 end, if false then 1 end"), "2 null");
  EXPECT_EQ(
      run("[.[] | select(. > 1)], map(. + 1), add, any, all(. > 0), first, last", "[1, 2, 3]"),
      "[2,3] [2,3,4] 6 true true 1 3");
  EXPECT_EQ(run(R"("x\(1 + 1)y\("z")\u00e9\n", @json "q"?)").find("cannot be used here") !=
                std::string::npos,
            true);
  EXPECT_EQ(run(R"("x\(1 + 1)y\("z")é\n")"), R"("x2yzé\n")");
  EXPECT_EQ(run("[range(3)], [range(1; 3)], first(range(1000000000)), any(range(1e9); . > 5)"),
            "[0,1,2] [1,2] 0 true");
  EXPECT_EQ(run("(1, 2) as $x | (3, 4) as $y | $x * $y"), "3 4 6 8");
  EXPECT_EQ(run("{a: (1, 2), \"b\": 3, c}", R"({"c": 4})"),
            R"({"a":1,"b":3,"c":4} {"a":2,"b":3,"c":4})");
  EXPECT_EQ(run("1 as $x | {$x}"), R"({"x":1})");
}

TEST(Jq, Functions) {
  EXPECT_EQ(run(R"(length, utf8bytelength, explode?)", R"("äb")").find("`explode/0` cannot") !=
                std::string::npos,
            true);
  EXPECT_EQ(run("length, utf8bytelength", R"("äb")"), "2 3");
  EXPECT_EQ(run("tostring, tojson, type", "[1]"), R"("[1]" "[1]" "array")");
  EXPECT_EQ(run("map(tonumber)", R"(["1", "2.5", 3])"), "[1,2.5,3]");
  EXPECT_EQ(run("sort, unique, reverse, min, max", R"([2, "a", 1, 2])"),
            R"([1,2,2,"a"] [1,2,"a"] [2,1,"a",2] 1 "a")");
  EXPECT_EQ(run("index(\"b\"), rindex(\"b\"), indices(\"b\")", R"("äbcb")"), "1 3 [1,3]");
  EXPECT_EQ(run("join(\", \"), (.[0] | inside(\"xay\")), contains([\"a\"])", R"(["a", "b"])"),
            R"("a, b" true true)");
  EXPECT_EQ(run("@base64, (@base64 | @base64d), @uri, (\" x \" | trim, ltrim)", R"("a ü")"),
            R"("YSDDvA==" "a ü" "a%20%C3%BC" "x" "x ")");
  EXPECT_EQ(run("to_entries", R"({"a": 1})"), R"([{"key":"a","value":1}])");
  EXPECT_EQ(run("floor, ceil, round, abs", "-1.5"), "-2 -1 -2 1.5");
  EXPECT_EQ(run("[.[] | strings, nulls, booleans]", R"([1, "a", null, true, []])"),
            R"(["a",null,true])");
  EXPECT_EQ(run("try error catch ., (try error({a: 1}) catch .a)", "\"x\""), "\"x\" 1");
  EXPECT_EQ(run("(.[] | try error catch .) | try error catch \"inner\"", "[1]"), "\"inner\"");
}

TEST(Jq, RefusesByNameAndPlace) {
  constexpr std::pair<std::string_view, std::string_view> kBad[] = {
      {"", "character 1: it ends where"},
      {"def f: 1; f", "character 1: `def` cannot be used here"},
      {"reduce .[] as $x (0; . + $x)", "`reduce`"},
      {".a = 1", "`=` cannot"},
      {".a |= 1", "`|=` cannot"},
      {".a += 1", "`+=` cannot"},
      {". | sub(\"a\"; \"b\")", "character 5: `sub`"},
      {"nonsense", "`nonsense/0`"},
      {"test(\"a\"; \"b\"; \"c\")", "`test/3`"},
      {"$x", "no variable is called `$x`"},
      {"1 as $x | 2 | $y", "`$y`"},
      {"@csv", "`@csv`"},
      {"[1", "expected `]`"},
      {"(1", "expected `)`"},
      {"{a", "expected `,` or `}`"},
      {"\"a", "a string without its end"},
      {"\"\\x\"", "an unknown escape"},
      {"\"\\u", "an unknown escape"},
      {"if 1 then 2", "expected `end`"},
      {"1 2", "something that is not understood follows"},
      {". as [$a] | $a", "`as` takes a variable"},
  };
  for (const auto& [program, why] : kBad) {
    const auto compiled = JqProgram::compile(program);
    ASSERT_FALSE(compiled) << program;
    EXPECT_NE(compiled.error().what.find(why), std::string::npos) << compiled.error().what;
  }
  EXPECT_FALSE(JqProgram::compile(std::string(5000, '(')));
  EXPECT_FALSE(JqProgram::compile(std::string(5000, '-') + "1"));
}

TEST(Jq, ExpensiveProgramsAreGivenUp) {
  std::string doubling = "\"xxxxxxxxxxxxxxxx\"";
  std::string nested = ".";
  for (int i = 0; i < 40; ++i) {
    doubling += " | . + .";
    nested += " | [., .]";
  }
  for (const std::string& program :
       {std::string("[range(1e12)]"), std::string("all(range(1e12); true)"), doubling, nested,
        std::string("range(1e6) | range(1e6) | empty"),
        std::string("[range(1e5)] | map(tostring) | join(\"\") | test(\"(\\\\d+)+x\")")}) {
    const auto compiled = JqProgram::compile(program);
    ASSERT_TRUE(compiled) << compiled.error().what;
    Effort effort(std::chrono::milliseconds(50));
    int results = 0;
    compiled->run({}, effort, [&results](const JsonValue&) { return ++results < 5; });
    EXPECT_TRUE(effort.was_spent()) << program;
    EXPECT_EQ(results, 0) << program;
  }
}
