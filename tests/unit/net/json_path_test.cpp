// tests/unit/net/json_path_test.cpp — JSON values, and RFC 9535's own examples.
#include "net/query/json_path.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

using namespace mirrord;
using namespace mirrord::net;

namespace {

JsonValue parsed(std::string_view text) {
  auto value = JsonValue::parse(text);
  EXPECT_TRUE(value) << value.error().what << ": " << text;
  return value ? std::move(*value) : JsonValue{};
}

// What the query finds, as an array.
std::string found(std::string_view query, const JsonValue& document) {
  auto path = JsonPath::compile(query);
  if (!path)
    return path.error().what;
  Effort effort(std::chrono::seconds(5));
  std::string out;
  for (const JsonValue* node : path->find(document, effort))
    out += (out.empty() ? "" : " ") + node->dump();
  EXPECT_FALSE(effort.was_spent());
  return out;
}

std::string found(std::string_view query, std::string_view document) {
  return found(query, parsed(document));
}

constexpr std::string_view kStore = R"({"store": {"book": [
  {"category": "reference", "author": "Nigel Rees", "title": "Sayings of the Century", "price": 8.95},
  {"category": "fiction", "author": "Evelyn Waugh", "title": "Sword of Honour", "price": 12.99},
  {"category": "fiction", "author": "Herman Melville", "title": "Moby Dick",
   "isbn": "0-553-21311-3", "price": 8.99},
  {"category": "fiction", "author": "J. R. R. Tolkien", "title": "The Lord of the Rings",
   "isbn": "0-395-19395-8", "price": 22.99}],
  "bicycle": {"color": "red", "price": 399}}})";

}  // namespace

TEST(Json, KeepsWhatItRead) {
  for (const std::string_view text :
       {"null", "true", "-1", "18446744073709551615", "-9223372036854775808", "1.0", "0.1", "1e30",
        "1.5e-7", "0.00001", "123456789.125", "-0.0", "[]", "{}", R"([1,[2,{"a":null}],"x"])",
        R"({"b":1,"a":"\"\\\n\u0001é"})"})
    EXPECT_EQ(parsed(text).dump(), text);
  EXPECT_EQ(parsed("18446744073709551616").dump(), "1.8446744073709552e19");
  EXPECT_EQ(parsed("1e2").dump(), "100.0");
  EXPECT_EQ(parsed(R"("\u00e9\ud83d\ude00\/")").dump(), "\"é😀/\"");
  EXPECT_EQ(std::get<std::string>(parsed(R"("a\u0000b")").data).size(), 3U);
  EXPECT_EQ(parsed(R"({"a":1,"b":2,"a":3})").dump(), R"({"a":3,"b":2})");
}

TEST(Json, RefusesWhatIsNone) {
  for (const std::string_view text :
       {"",        "nul",        "01",    "1.",       ".5",       "1e",          "+1",
        "[1,]",    "{\"a\":1,}", "{a:1}", "\"\x01\"", "\"\xff\"", R"("\ud800")", R"("\udc00")",
        R"("\x")", "\"",         "[",     "1 2",      "1e999",    "'a'"})
    EXPECT_FALSE(JsonValue::parse(text)) << text;
  EXPECT_FALSE(JsonValue::parse(std::string(100'000, '[')));
}

TEST(JsonPath, TheStoreOfTheRfc) {
  const JsonValue store = parsed(kStore);
  EXPECT_EQ(found("$.store.book[*].author", store),
            R"("Nigel Rees" "Evelyn Waugh" "Herman Melville" "J. R. R. Tolkien")");
  EXPECT_EQ(found("$..author", store), found("$.store.book[*].author", store));
  EXPECT_EQ(found("$.store..price", store), "8.95 12.99 8.99 22.99 399");
  EXPECT_EQ(found("$..book[2].author", store), R"("Herman Melville")");
  EXPECT_EQ(found("$..book[2].publisher", store), "");
  EXPECT_EQ(found("$..book[-1].title", store), R"("The Lord of the Rings")");
  EXPECT_EQ(found("$..book[0,1].price", store), "8.95 12.99");
  EXPECT_EQ(found("$..book[:2].price", store), "8.95 12.99");
  EXPECT_EQ(found("$..book[?@.isbn].price", store), "8.99 22.99");
  EXPECT_EQ(found("$..book[?@.price<10].price", store), "8.95 8.99");
  EXPECT_EQ(found("$..book[?(@.price < 10 && @.category == 'fiction')].title", store),
            R"("Moby Dick")");
  EXPECT_EQ(found("$.store['bicycle']['color']", store), R"("red")");
}

TEST(JsonPath, Slices) {
  constexpr std::string_view kLetters = R"(["a","b","c","d","e","f","g"])";
  EXPECT_EQ(found("$[1:3]", kLetters), R"("b" "c")");
  EXPECT_EQ(found("$[5:]", kLetters), R"("f" "g")");
  EXPECT_EQ(found("$[1:5:2]", kLetters), R"("b" "d")");
  EXPECT_EQ(found("$[5:1:-2]", kLetters), R"("f" "d")");
  EXPECT_EQ(found("$[::-1]", kLetters), R"("g" "f" "e" "d" "c" "b" "a")");
  EXPECT_EQ(found("$[::0]", kLetters), "");
  EXPECT_EQ(found("$[-2:]", kLetters), R"("f" "g")");
  EXPECT_EQ(found("$[ 0 : 1 ]", kLetters), R"("a")");
  EXPECT_EQ(found("$[9007199254740991:]", kLetters), "");
  EXPECT_EQ(found("$[:-9007199254740991:-1]", kLetters).size(), 27U);
}

TEST(JsonPath, Comparisons) {
  constexpr std::string_view kDocument = R"({"obj": {"x": "y"}, "arr": [2, 3], "items": [1]})";
  const auto is_true = [&](std::string_view condition) {
    return found("$.items[?" + std::string(condition) + "]", kDocument) == "1";
  };
  for (const std::string_view condition :
       {"$.absent1 == $.absent2", "$.absent1 <= $.absent2", "$.absent != 'g'", "1 <= 2",
        "'a' <= 'b'", "$.obj == $.obj", "$.obj != $.arr", "$.arr == $.arr", "$.obj <= $.obj",
        "1 <= $.arr[0]", "1 == 1.0", "!(1 > 2)", "!@.x", "@ == 1", "null == null",
        "\"a\\u0062\" == 'ab'", "1 == 2 || 2 == 2 && 3 == 3"})
    EXPECT_TRUE(is_true(condition)) << condition;
  for (const std::string_view condition :
       {"$.absent == 'g'", "1 > 2", "13 == '13'", "$.obj == $.arr", "$.obj < $.obj", "1 <= $.arr",
        "true < false", "null < 1", "true <= false", "(1 == 1 || 1 == 1) && 1 == 2"})
    EXPECT_FALSE(is_true(condition)) << condition;
}

TEST(JsonPath, Functions) {
  constexpr std::string_view kDocument =
      R"([{"n": "1974-05-11", "a": [1, 2]}, {"n": "x1974y", "a": []}, {"n": 5, "a": "äöü"}])";
  EXPECT_EQ(found("$[?match(@.n, '1974-05-..')].n", kDocument), R"("1974-05-11")");
  EXPECT_EQ(found("$[?search(@.n, '1974')].n", kDocument), R"("1974-05-11" "x1974y")");
  EXPECT_EQ(found("$[?!search(@.n, '[.]|x')].n", kDocument), R"("1974-05-11" 5)");
  EXPECT_EQ(found("$[?length(@.a) == 2].n", kDocument), R"("1974-05-11")");
  EXPECT_EQ(found("$[?length(@.a) == 3].n", kDocument), "5");
  EXPECT_EQ(found("$[?count(@.a.*) > 1].n", kDocument), R"("1974-05-11")");
  EXPECT_EQ(found("$[?value(@..n) == 5].n", kDocument), "5");
  EXPECT_EQ(found("$[?typeof(@.n) == 'number'].n", kDocument), "5");
  EXPECT_EQ(found("$[?typeof(@.none) == 'nothing'].n", kDocument).empty(), false);
  EXPECT_EQ(found("$[?typeof(@.*) == 'string'].n", kDocument), "");
  EXPECT_EQ(found("$[?match(@.n, $[1].n)].n", kDocument), R"("x1974y")");
  EXPECT_EQ(found("$[?match(@, 'a.b')]", R"(["a\rb", "a\nb", "a b"])"), R"("a b")");
}

TEST(JsonPath, Names) {
  EXPECT_EQ(found("$['a b']['\\'']", R"({"a b": {"'": 1}})"), "1");
  EXPECT_EQ(found("$.\u00e9_1", R"({"é_1": 1})"), "1");
  EXPECT_EQ(found("$ .a [ 'b' , \"c\" ]", R"({"a": {"b": 1, "c": 2}})"), "1 2");
  EXPECT_EQ(found("$", "7"), "7");
  EXPECT_EQ(found("$..*", R"({"a":[1,{"b":2}]})"), R"([1,{"b":2}] 1 {"b":2} 2)");
  EXPECT_EQ(found("$.a[?@[?@ > 1]]", R"({"a":[[1],[2]]})"), "[2]");
}

TEST(JsonPath, RefusesWithThePlace) {
  constexpr std::pair<std::string_view, std::string_view> kBad[] = {
      {"", "does not begin with `$`"},
      {"a", "character 1: it does not begin"},
      {"$.", "character 3: expected a name"},
      {"$..", "expected a name"},
      {"$.1", "expected a name"},
      {"$[", "expected a selector"},
      {"$[01]", "`01` is no index"},
      {"$[-0]", "is no index"},
      {"$[9007199254740992]", "is no index"},
      {"$['a]", "a string without its end"},
      {"$['\\x']", "an unknown escape"},
      {"$['\\ud800']", "half of a surrogate pair"},
      {"$[?1]", "a literal alone"},
      {"$[?@.* == 1]", "several nodes cannot be compared"},
      {"$[?length(@)]", "length() gives is a value"},
      {"$[?match(@, 'a') == true]", "match() gives is true or false"},
      {"$[?count(1) == 1]", "count() takes a query"},
      {"$[?nonsense(@)]", "no function is called `nonsense`"},
      {"$[?length(@, 1) == 1]", "takes 1 argument"},
      {"$[?!@.a == 1]", "put that in parentheses"},
      {"$[?@.a = 1]", "expected `,` or `]`"},
      {"$.a ", "something that is no segment"},
      {" $", "does not begin"},
      {"$\xff", "not UTF-8"},
  };
  for (const auto& [query, why] : kBad) {
    const auto path = JsonPath::compile(query);
    ASSERT_FALSE(path) << query;
    EXPECT_NE(path.error().what.find(why), std::string::npos) << path.error().what;
  }
  EXPECT_FALSE(JsonPath::compile("$[?" + std::string(5000, '(')));
  EXPECT_FALSE(JsonPath::compile("$" + std::string(JsonPath::kLongest, '.')));
}

TEST(JsonPath, ExpensiveQueriesAreGivenUp) {
  std::string text = "[";
  for (int i = 0; i < 3000; ++i)
    text += "[[[" + std::to_string(i) + "]]],";
  text += "0]";
  const JsonValue document = parsed(text);
  for (const std::string_view query :
       {"$..[?$..[?$..[?@ > 5000]]]", "$[*,*][*,*][*,*,*,*][?$..[?@ == -1]]"}) {
    const auto path = JsonPath::compile(query);
    ASSERT_TRUE(path) << path.error().what;
    Effort effort(std::chrono::milliseconds(20));
    EXPECT_TRUE(path->find(document, effort).empty());
    EXPECT_TRUE(effort.was_spent()) << query;
  }
}
